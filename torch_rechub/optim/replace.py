"""The row-wise optimizer that computes the same as an optimizer of torch."""

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

ROW_WISE: dict[Any, type[RowOptimizer]] = {
    torch.optim.Adam: Adam,
    torch.optim.AdamW: AdamW,
    torch.optim.SGD: SGD,
    torch.optim.Adagrad: Adagrad,
}


def row_wise(optimizer_fn: Any, kwargs: Mapping[str, Any]) -> type[RowOptimizer] | None:
    """The row-wise optimizer that computes the same as ``optimizer_fn(params, **kwargs)``; None if there is none.

    Args:
        optimizer_fn: an optimizer class of torch; for any other callable the result is None.
        kwargs: its keyword arguments. The row-wise optimizer takes the same ones.

    Example:
        >>> row_wise(torch.optim.Adam, {"lr": 0.01}), row_wise(torch.optim.Rprop, {})
        (<class 'torch_rechub.optim.adam.Adam'>, None)
    """
    replacement = ROW_WISE.get(optimizer_fn) if isinstance(optimizer_fn, type) else None
    if replacement is None or any(isinstance(value, Tensor) for value in kwargs.values()):
        return None
    known = inspect.signature(Adam if replacement is AdamW else replacement).parameters
    return replacement if set(kwargs) <= set(known) else None
