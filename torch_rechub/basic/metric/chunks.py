"""The columns that a metric stores between ``update`` and ``compute``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

__all__ = ["Chunks"]

#: After this number of batches, their tensors are concatenated, so that many small batches do not become many small tensors.
CONCATENATE_EVERY = 1024


class Chunks:
    """Named columns, stored batch by batch on the batch's device. The host waits for the device only when the columns are read.

    A chunk holds the columns of one batch or of several. A column that a chunk does not have is filled with 1: an unweighted batch among
    weighted ones has the weight 1. Chunks may share tensors, which are never changed.

    Example:
        >>> chunks = Chunks()
        >>> chunks.append({"y": torch.tensor([1.0, 0.0])})
        >>> chunks.append({"y": torch.tensor([1.0]), "weight": torch.tensor([2.0])})
        >>> chunks.table()
        {'y': tensor([1., 0., 1.]), 'weight': tensor([1., 1., 2.])}
    """

    def __init__(self, columns: Mapping[str, Tensor] | None = None) -> None:
        self._joined: list[Mapping[str, Tensor]] = [columns] if columns else []
        self._recent: list[Mapping[str, Tensor]] = []

    def append(self, chunk: Mapping[str, Tensor]) -> None:
        """Add one batch, whose columns have one length."""
        self._recent.append(chunk)
        if len(self._recent) >= CONCATENATE_EVERY:
            self._join_recent()

    def extend(self, other: Chunks) -> None:
        """Add all chunks of ``other`` at the end. ``other`` is not changed."""
        self._join_recent()
        self._joined, self._recent = [*self._joined, *other._joined], list(other._recent)

    def table(self) -> dict[str, Tensor]:
        """Every column as one tensor on the CPU; an empty dict if there are no batches."""
        self._join_recent()
        return _concatenate(self._joined, torch.device("cpu"))

    def arrays(self) -> dict[str, np.ndarray]:
        """:meth:`table` as numpy arrays."""
        return {name: column.numpy() for name, column in self.table().items()}

    def _join_recent(self) -> None:
        if self._recent:
            device = next(iter(self._recent[-1].values())).device
            self._joined.append(_concatenate(self._recent, device))
            self._recent = []


def _concatenate(chunks: Iterable[Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    chunks = list(chunks)
    names = dict.fromkeys(name for chunk in chunks for name in chunk)
    return {name: torch.cat([_column(chunk, name).to(device) for chunk in chunks]) for name in names}


def _column(chunk: Mapping[str, Tensor], name: str) -> Tensor:
    if name in chunk:
        return chunk[name]
    return torch.ones(len(next(iter(chunk.values()))))
