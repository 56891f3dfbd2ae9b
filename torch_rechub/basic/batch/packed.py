"""Many columns in few tensors: what our loaders yield in place of a dict with one small tensor per column.

A batch of 13 dense and 26 sparse columns is 2 tensors here, not 39, so it is sliced, moved to a device and read by a model in 2 operations.
Access by name gives the same tensor as a plain dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor

__all__ = ["Layout", "PackedFeatures", "id_matrix", "number_matrix"]

Place: TypeAlias = tuple[Literal["ids", "numbers", "blocks"], int]


@dataclass(frozen=True)
class Layout:
    """The position of each column. Batches of one loader share one layout, so a model plans its reading once.

    Args:
        ids: names of the columns of the integer matrix, in order.
        numbers: names of the columns of the float matrix, in order.
        blocks: names of the columns that have a matrix of their own: sequences and vectors.
    """

    ids: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()

    @cached_property
    def places(self) -> dict[str, Place]:
        """Column name -> which tensor, and which position in it."""
        places: dict[str, Place] = {}
        for j, name in enumerate(self.ids):
            places[name] = ("ids", j)
        for j, name in enumerate(self.numbers):
            places[name] = ("numbers", j)
        for j, name in enumerate(self.blocks):
            places[name] = ("blocks", j)
        return places

    def select(self, kind: Literal["ids", "numbers"], names: tuple[str, ...], device: torch.device) -> slice | Tensor | None:
        """The positions of the columns ``names`` in one of the two matrices: a slice if they are adjacent; None if one is elsewhere."""
        key = (kind, names, device)
        if key not in self._selections:
            self._selections[key] = self._select(kind, names, device)
        return self._selections[key]

    def _select(self, kind: str, names: tuple[str, ...], device: torch.device) -> slice | Tensor | None:
        places = [self.places.get(name) for name in names]
        columns = [place[1] for place in places if place is not None and place[0] == kind]
        if not columns or len(columns) < len(names):
            return None
        if columns == list(range(columns[0], columns[0] + len(columns))):
            return slice(columns[0], columns[0] + len(columns))
        return torch.tensor(columns, device=device)

    @cached_property
    def _selections(self) -> dict[tuple[str, tuple[str, ...], torch.device], slice | Tensor | None]:
        return {}

    def __getstate__(self) -> dict[str, tuple[str, ...]]:
        return {"ids": self.ids, "numbers": self.numbers, "blocks": self.blocks}


class PackedFeatures(Mapping[str, Tensor]):
    """Rows of a table, packed; a read-only mapping ``{name: tensor}`` as well.

    Args:
        layout: the position of each column.
        ids: ``(B, number of id columns)``, int32 or int64.
        numbers: ``(B, number of dense columns)``, float32.
        blocks: one ``(B, L)`` tensor per sequence or vector column, and one ``(B,)`` float64 tensor per column that float32 would round.

    Example:
        >>> x = PackedFeatures(Layout(ids=("user", "item"), numbers=("age",)), torch.tensor([[1, 2], [3, 4]]), torch.tensor([[0.5], [0.7]]))
        >>> x["item"], len(x), x.n_row
        (tensor([2, 4]), 3, 2)
    """

    __slots__ = ("blocks", "ids", "layout", "numbers")

    def __init__(self, layout: Layout, ids: Tensor, numbers: Tensor, blocks: tuple[Tensor, ...] = ()) -> None:
        self.layout = layout
        self.ids = ids
        self.numbers = numbers
        self.blocks = blocks

    @property
    def n_row(self) -> int:
        """Number of rows, B."""
        return self.ids.shape[0]

    def __getitem__(self, name: str) -> Tensor:
        kind, j = self.layout.places[name]
        if kind == "ids":
            return self.ids[:, j].long()
        if kind == "numbers":
            return self.numbers[:, j]
        block = self.blocks[j]
        return block if block.is_floating_point() else block.long()

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.places)

    def __len__(self) -> int:
        return len(self.layout.places)

    def each(self, change: Callable[[Tensor], Tensor]) -> PackedFeatures:
        """The same columns with ``change`` applied to every tensor, such as a slice, a copy or a move."""
        return PackedFeatures(self.layout, change(self.ids), change(self.numbers), tuple(change(block) for block in self.blocks))

    def take(self, rows: Tensor | slice) -> PackedFeatures:
        """The rows at ``rows``: a slice gives views, an index tensor gives copies."""
        if isinstance(rows, slice):
            return self.each(lambda tensor: tensor[rows])
        return self.each(lambda tensor: tensor.index_select(0, rows))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedFeatures:
        """The same rows on ``device``."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PackedFeatures:
        """The same rows in page-locked memory, from which copies to a GPU are faster."""
        return self.each(lambda tensor: tensor.pin_memory())

    def __repr__(self) -> str:
        return f"PackedFeatures({self.n_row} rows of {', '.join(self)})"


def id_matrix(x: Mapping[str, Tensor], names: tuple[str, ...], wide: bool = False) -> Tensor:
    """The columns ``names`` of ``x`` side by side, ``(B, len(names))`` integers: a view where they are adjacent.

    Args:
        x: a batch; a column of floats gives its whole parts.
        names: columns ``(B,)`` or ``(B, 1)``.
        wide: whether columns ``(B, L)`` give ``(B, len(names), L)``, also where L is 1.

    Raises:
        ValueError: when columns of several shapes meet.
    """
    if isinstance(x, PackedFeatures):
        columns = x.layout.select("ids", names, x.ids.device)
        if columns is not None:
            return x.ids[:, columns] if isinstance(columns, slice) else x.ids.index_select(1, columns)
    columns = [x[name] for name in names]
    if wide and any(column.dim() > 1 for column in columns):
        if any(column.shape != columns[0].shape for column in columns):
            shapes = {name: tuple(column.shape) for name, column in zip(names, columns, strict=True)}
            raise ValueError(f"Sparse features that are embedded together must have ids of one shape; got {shapes}. Reshape them.")
        return torch.stack([column.long() for column in columns], dim=1)
    return torch.stack([column.reshape(-1).long() for column in columns], dim=1)


def number_matrix(x: Mapping[str, Tensor], names: tuple[str, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """The columns ``names`` of ``x`` side by side, ``(B, len(names))`` floats: a view where they are adjacent."""
    if isinstance(x, PackedFeatures):
        columns = x.layout.select("numbers", names, x.numbers.device)
        if columns is not None:
            return x.numbers[:, columns] if isinstance(columns, slice) else x.numbers.index_select(1, columns)
    return torch.stack([x[name].reshape(-1).to(dtype) for name in names], dim=1)
