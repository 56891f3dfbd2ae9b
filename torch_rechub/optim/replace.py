"""Which of our optimizers does the same mathematics as one of torch's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_rechub.optim.adagrad import Adagrad
from torch_rechub.optim.adam import Adam, AdamW
from torch_rechub.optim.base import RowOptimizer
from torch_rechub.optim.sgd import SGD

__all__ = ["row_wise"]

OURS: dict[Any, type[RowOptimizer]] = {
    torch.optim.Adam: Adam,
    torch.optim.AdamW: AdamW,
    torch.optim.SGD: SGD,
    torch.optim.Adagrad: Adagrad,
}


def row_wise(optimizer_fn: Any, kwargs: Mapping[str, Any]) -> type[RowOptimizer] | None:
    """Our optimizer with the same mathematics as ``optimizer_fn(params, **kwargs)``, None where there is none.

    Args:
        optimizer_fn: an optimizer class of torch, or anything else that makes an optimizer (None then).
        kwargs: what it would be called with; the same are ours.

    Example:
        >>> row_wise(torch.optim.Adam, {"lr": 0.01}), row_wise(torch.optim.Rprop, {})
        (<class 'torch_rechub.optim.adam.Adam'>, None)
    """
    ours = OURS.get(optimizer_fn) if isinstance(optimizer_fn, type) else None
    if ours is None or any(isinstance(value, Tensor) for value in kwargs.values()):
        return None
    known = inspect.signature(Adam if ours is AdamW else ours).parameters
    return ours if set(kwargs) <= set(known) else None
