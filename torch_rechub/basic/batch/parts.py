"""The parts of a batch: features, labels and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_rechub.basic.batch.packed import PackedFeatures

__all__ = ["Parts", "at_least_tiny", "move_to", "split_batch"]


class Parts(NamedTuple):
    """The three parts of a batch; a part that was not given is None."""

    x: Any  # Features for our models; anything that the loader yields, for a user's own module
    y: Tensor | None
    weight: Tensor | None

    def to(self, device: torch.device) -> Parts:
        """The same batch on ``device``."""
        return move_to(self, device)


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
    if isinstance(batch, str):  # iterating a DataFrame yields its column names
        remedy = "DataGenerator(x, y).generate_dataloader(...) makes loaders of columns."
        raise TypeError(f"A batch must be (x, y), (x, y, weight) or a mapping of columns; got the name {batch!r}. {remedy}")
    if not isinstance(batch, Sequence) or len(batch) not in {1, 2, 3}:
        size = f" of length {len(batch)}" if isinstance(batch, Sequence) else ""
        raise TypeError(f"A batch must be (x, y), (x, y, weight) or a mapping of columns; got {type(batch).__name__}{size}.")
    x, y, weight = (*batch, None, None)[:3]
    return Parts(x, _column(y), _column(weight))


def at_least_tiny(total: Tensor) -> Tensor:
    """A sum of weights as a divisor: where all weights are 0 the quotient is 0, not NaN."""
    return total.clamp(min=torch.finfo(total.dtype).tiny)


def _column(values: Any) -> Tensor | None:
    if values is None:
        return None
    column = torch.as_tensor(values)
    if not column.is_floating_point():
        column = column.float()
    return column.squeeze(1) if column.dim() == 2 and column.shape[1] == 1 else column


def move_to(value: Any, device: torch.device) -> Any:
    """Tensors, and mappings, lists and tuples of them, on ``device``; anything else stays as it is."""
    if isinstance(value, Tensor | PackedFeatures):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: move_to(part, device) for name, part in value.items()}
    if isinstance(value, list | tuple):
        moved = [move_to(part, device) for part in value]
        return type(value)(*moved) if hasattr(value, "_fields") else type(value)(moved)  # a named tuple takes its fields one by one
    return value
