"""Copies of weights that later steps do not change."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from torch_rechub.torch_private import with_metadata_of

__all__ = ["copy_weights"]


def copy_weights(weights: Any, into: Any = None) -> Any:
    """A deep copy on the CPU of a ``state_dict`` (or of anything else that can be copied).

    Args:
        weights: what to copy.
        into: an earlier copy with the same keys and shapes, whose memory is reused.

    Example:
        >>> import torch
        >>> w = {"w": torch.ones(2)}
        >>> copied = copy_weights(w)
        >>> _ = w["w"].zero_()
        >>> copied["w"]
        tensor([1., 1.])
    """
    if not isinstance(weights, Mapping):
        return copy.deepcopy(weights)
    buffers: Mapping[str, Any] = into if isinstance(into, Mapping) else {}
    return with_metadata_of(weights, {name: _copy(value, buffers.get(name)) for name, value in weights.items()})


def _copy(value: Any, buffer: Any) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    value = value.detach()
    if isinstance(buffer, Tensor) and buffer.shape == value.shape and buffer.dtype == value.dtype:
        return buffer.copy_(value)
    return value.clone() if value.device.type == "cpu" else value.cpu()
