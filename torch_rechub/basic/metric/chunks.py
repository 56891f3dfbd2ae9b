"""Columns that grow batch by batch: what every metric keeps between ``update`` and ``compute``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

__all__ = ["Chunks"]

#: So many small chunks are joined into one, so that a million tiny batches do not become a million tiny tensors.
PACK_EVERY = 1024


class Chunks:
    """Named columns, kept as the batches brought them, on the device that brought them; nothing waits for that device until they are read.

    A column that a chunk lacks is 1 there: an unweighted batch among weighted ones has weight 1. Tensors are shared, never changed.

    Example:
        >>> chunks = Chunks()
        >>> chunks.append({"y": torch.tensor([1.0, 0.0])})
        >>> chunks.append({"y": torch.tensor([1.0]), "weight": torch.tensor([2.0])})
        >>> chunks.table()
        {'y': tensor([1., 0., 1.]), 'weight': tensor([1., 1., 2.])}
    """

    def __init__(self, columns: Mapping[str, Tensor] | None = None) -> None:
        self._packed: list[Mapping[str, Tensor]] = [columns] if columns else []
        self._recent: list[Mapping[str, Tensor]] = []

    def append(self, chunk: Mapping[str, Tensor]) -> None:
        """Add one batch: columns of one length."""
        self._recent.append(chunk)
        if len(self._recent) >= PACK_EVERY:
            self._pack()

    def extend(self, other: Chunks) -> None:
        """Add all that ``other`` holds, after what is here; ``other`` stays as it is."""
        self._pack()
        self._packed, self._recent = [*self._packed, *other._packed], list(other._recent)

    def table(self) -> dict[str, Tensor]:
        """Every column in one piece, on the CPU; empty when no batch came."""
        self._pack()
        return _joined(self._packed, torch.device("cpu"))

    def arrays(self) -> dict[str, np.ndarray]:
        """:meth:`table` as numpy arrays."""
        return {name: column.numpy() for name, column in self.table().items()}

    def _pack(self) -> None:
        if self._recent:
            device = next(iter(self._recent[-1].values())).device
            self._packed.append(_joined(self._recent, device))
            self._recent = []


def _joined(chunks: Iterable[Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    chunks = list(chunks)
    names = dict.fromkeys(name for chunk in chunks for name in chunk)
    return {name: torch.cat([_column(chunk, name).to(device) for chunk in chunks]) for name in names}


def _column(chunk: Mapping[str, Tensor], name: str) -> Tensor:
    if name in chunk:
        return chunk[name]
    return torch.ones(len(next(iter(chunk.values()))))
