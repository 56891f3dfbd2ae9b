"""The pair that a loader yields, taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_rechub.basic.batch.packed import PackedFeatures

__all__ = ["Parts", "at_least_tiny", "split_batch"]


class Parts(NamedTuple):
    """A batch in its three parts; a part that was not given is None."""

    x: Any  # Features for our models; whatever the loader yields for a module of the user's own
    y: Tensor | None
    weight: Tensor | None

    def to(self, device: torch.device) -> Parts:
        """The same batch on ``device``; nothing happens where it is there already."""
        y = None if self.y is None else self.y.to(device, non_blocking=True)
        weight = None if self.weight is None else self.weight.to(device, non_blocking=True)
        return Parts(_move(self.x, device), y, weight)


def split_batch(batch: Any) -> Parts:
    """``(x, y)``, ``(x, y, weight)``, the same as lists, or ``x`` alone -> its parts.

    Labels become float, and ``(B, 1)`` becomes ``(B,)``; several columns ``(B, T)`` stay.

    Raises:
        TypeError: when the batch is none of these.

    Example:
        >>> split_batch([{"user": torch.tensor([1, 2])}, torch.tensor([[0], [1]])]).y
        tensor([0., 1.])
    """
    if isinstance(batch, Mapping | Tensor):
        return Parts(batch, None, None)
    if isinstance(batch, str):  # what a DataFrame yields
        remedy = "DataGenerator(x, y).generate_dataloader(...) makes loaders of columns."
        raise TypeError(f"A batch must be (x, y), (x, y, weight) or a mapping of columns; got the name {batch!r}. {remedy}")
    if not isinstance(batch, Sequence) or len(batch) not in {1, 2, 3}:
        size = f" of length {len(batch)}" if isinstance(batch, Sequence) else ""
        raise TypeError(f"A batch must be (x, y), (x, y, weight) or a mapping of columns; got {type(batch).__name__}{size}.")
    x, y, weight = (*batch, None, None)[:3]
    return Parts(x, _column(y), _column(weight))


def at_least_tiny(total: Tensor) -> Tensor:
    """A sum of weights to divide by: rows that all weigh 0 then give 0, not NaN."""
    return total.clamp(min=torch.finfo(total.dtype).tiny)


def _column(values: Any) -> Tensor | None:
    if values is None:
        return None
    column = torch.as_tensor(values)
    if not column.is_floating_point():
        column = column.float()
    return column.squeeze(1) if column.dim() == 2 and column.shape[1] == 1 else column


def _move(x: Any, device: torch.device) -> Any:
    if isinstance(x, Tensor | PackedFeatures):
        return x.to(device, non_blocking=True)
    if isinstance(x, Mapping):
        return {name: _move(value, device) for name, value in x.items()}
    if isinstance(x, list | tuple):
        moved = [_move(value, device) for value in x]
        return type(x)(*moved) if hasattr(x, "_fields") else type(x)(moved)  # a named tuple takes its fields one by one
    return x
