"""Copies of weights that later steps cannot touch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["copy_weights"]


def copy_weights(weights: Any, into: Any = None) -> Any:
    """A deep copy on the CPU of a ``state_dict`` (or of anything else that can be copied).

    Args:
        weights: what to copy.
        into: an earlier copy of the same keys and shapes, whose memory is used again.

    Example:
        >>> import torch
        >>> w = {"w": torch.ones(2)}
        >>> kept = copy_weights(w)
        >>> _ = w["w"].zero_()
        >>> kept["w"]
        tensor([1., 1.])
    """
    if not isinstance(weights, Mapping):
        return copy.deepcopy(weights)
    buffers: Mapping[str, Any] = into if isinstance(into, Mapping) else {}
    return {name: _copy(value, buffers.get(name)) for name, value in weights.items()}


def _copy(value: Any, buffer: Any) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    value = value.detach()
    if isinstance(buffer, Tensor) and buffer.shape == value.shape and buffer.dtype == value.dtype:
        return buffer.copy_(value)
    return value.clone() if value.device.type == "cpu" else value.cpu()
