"""The order of the rows in an epoch: a function of ``(seed, epoch)`` only, so a position in the data is two integers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

__all__ = ["BatchOrder", "epoch_order"]


def epoch_order(n_row: int, seed: int, epoch: int) -> Tensor:
    """The permutation of ``n_row`` rows in epoch ``epoch`` with seed ``seed``; torch's global random state is not used.

    Example:
        >>> torch.equal(epoch_order(5, seed=1, epoch=0), epoch_order(5, seed=1, epoch=0))
        True
    """
    return torch.randperm(n_row, generator=torch.Generator().manual_seed(_mix(seed, epoch)))


def _mix(seed: int, epoch: int) -> int:
    """One 63-bit seed from two numbers: a step and the finalizer of SplitMix64 (Steele et al., OOPSLA 2014)."""
    mask = 2**64 - 1
    z = ((seed + 1) * 0x9E3779B97F4A7C15 + epoch) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1


class BatchOrder(Sampler["Tensor | slice"]):
    """Yields the rows of one batch after another: index tensors when shuffled, slices in stored order.

    Args:
        n_row: number of rows.
        batch_size: rows per batch; the last one may be smaller.
        shuffle: use :func:`epoch_order`; stored order otherwise.
        seed: of the shuffling.
        drop_last: leave out a last batch that is not full.
    """

    def __init__(self, n_row: int, batch_size: int, shuffle: bool, seed: int, drop_last: bool) -> None:
        self.n_row, self.batch_size, self.shuffle, self.seed, self.drop_last = n_row, batch_size, shuffle, seed, drop_last
        self.epoch = 0
        self.start_batch = 0
        self.rank, self.n_rank = 0, 1

    def __len__(self) -> int:
        together = self.batch_size * self.n_rank
        return self.n_row // together if self.drop_last else -(-self.n_row // together)

    @property
    def repeats_row(self) -> bool:
        """Whether the epoch's last batch has no row for this rank, which then reads a row of another rank."""
        begin, end = self._part_of(len(self) - 1)
        return begin == end

    def __iter__(self) -> Iterator[Tensor | slice]:
        """Iterate over the present epoch from ``start_batch``; :meth:`advance` does not affect a running iteration."""
        return self._walk(self.epoch, self.start_batch)

    def advance(self) -> None:
        """Advance to the start of the next epoch."""
        self.epoch, self.start_batch = self.epoch + 1, 0

    def _walk(self, epoch: int, start: int) -> Iterator[Tensor | slice]:
        order = epoch_order(self.n_row, self.seed, epoch) if self.shuffle else None
        for batch in range(start, len(self)):
            rows = self._place_of(batch)
            yield rows if order is None else order[rows]

    def _place_of(self, batch: int) -> slice:
        """The slice of the order that is a batch: this rank's part of the rows that all ranks read together."""
        begin, end = self._part_of(batch)
        first = batch * self.batch_size * self.n_rank
        return slice(begin, end) if begin < end else slice(first, first + 1)

    def _part_of(self, batch: int) -> tuple[int, int]:
        first = batch * self.batch_size * self.n_rank
        size = min(self.batch_size * self.n_rank, self.n_row - first)
        return first - (-size * self.rank // self.n_rank), first - (-size * (self.rank + 1) // self.n_rank)
