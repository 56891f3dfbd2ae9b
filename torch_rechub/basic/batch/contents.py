"""What batches of any kind hold: their columns and their number of rows, as far as their tensors show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["column_names", "row_count"]


def column_names(batch: Any) -> set[str]:
    """The names of all columns in a batch, at any depth of tuples, lists and mappings.

    Example:
        >>> sorted(column_names(({"user": 1, "context": {"hour": 2}}, 3)))
        ['context', 'hour', 'user']
    """
    if isinstance(batch, Mapping):
        return {str(name) for name in batch}.union(*(column_names(part) for part in batch.values()))
    return set[str]().union(*(column_names(part) for part in batch)) if isinstance(batch, tuple | list) else set()


def row_count(batches: Iterable[Any]) -> int | None:
    """The rows of several batches together; None where a part of one is no tensor of rows, or its tensors have several lengths.

    Example:
        >>> import torch
        >>> row_count([torch.arange(3), torch.arange(2)]), row_count([(torch.zeros(2, 5), torch.zeros(2))]), row_count([7])
        (5, 2, None)
    """
    total = 0
    for batch in batches:
        lengths = set(_lengths(batch))
        if len(lengths) != 1 or None in lengths:
            return None
        total += lengths.pop() or 0
    return total


def _lengths(batch: Any) -> Iterable[int | None]:
    """The length of each tensor in a batch; None for what is none."""
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, tuple | list):
        for part in batch:
            yield from _lengths(part)
    else:
        yield len(batch) if isinstance(batch, Tensor) and batch.dim() else None
