"""Batches of a table: torch's DataLoader where workers are asked for, a bare loop where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from torch_rechub.basic.batch.packed import PackedFeatures
from torch_rechub.data.frames import Array
from torch_rechub.data.order import BatchOrder
from torch_rechub.data.table import Table
from torch_rechub.torch_private import shutdown_of

__all__ = ["TableLoader"]


class TableLoader(DataLoader[Any]):
    """Yields ``(x, y)``, ``(x, y, weight)`` where rows are weighted, or ``x`` where there are no labels; ``x`` is packed.

    Shuffling is a function of ``(seed, epoch)``, the same with any number of workers; torch's global random state is left alone.
    Iterating walks the present epoch and moves on to the next one, so a hand-written loop sees a new order each time.
    Without workers, torch's DataLoader would add 10-15 % to the cost of cutting a batch, so a plain loop takes its place.

    Args:
        table: the rows.
        batch_size: rows a batch; the last one may have fewer, even one.
        shuffle: a new order each epoch; stored order otherwise.
        seed: of the shuffling; None draws one from torch's global random state, so ``torch.manual_seed`` governs.
        drop_last: leave out a last batch that is not full.
        num_workers: processes that cut batches; 0 is the fastest for a table in memory.
        options: passed on to ``DataLoader``: ``pin_memory``, ``prefetch_factor``, ``multiprocessing_context``, ...

    Raises:
        ValueError: when ``batch_size`` is below 1; when iterated without rows.

    Example:
        >>> loader = TableLoader(Table.from_columns({"item": [3, 4, 5]}, y=[1, 0, 1]), batch_size=2)
        >>> [(x["item"].tolist(), y.tolist()) for x, y in loader]
        [([3, 4], [1.0, 0.0]), ([5], [1.0])]
    """

    def __init__(
        self,
        table: Table,
        batch_size: int = 16,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        num_workers: int = 0,
        **options: Any,
    ) -> None:
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number >= 1; got {batch_size!r}.")
        self.seed_is_drawn = seed is None  # nobody chose it, so a run that is gone on with may bring its own
        if seed is None:
            seed = int(torch.randint(2**62, ())) if shuffle else 0
        self.table = table
        self.shuffle = shuffle
        self._order = BatchOrder(len(table), int(batch_size), shuffle, int(seed), drop_last)
        self._options = options
        # A generator of its own: DataLoader draws a seed for its workers at every iteration, from the global one otherwise.
        options = {"generator": torch.Generator().manual_seed(int(seed))} | options
        batches: Any = _Portable(self._order)  # torch's stubs want lists of indices; whatever ``__getitems__`` takes will do
        super().__init__(table, batch_sampler=batches, collate_fn=_as_it_is, num_workers=num_workers, **options)
        # With a batch sampler DataLoader forgets both and forbids writing them; readers of a loader expect the truth.
        object.__setattr__(self, "batch_size", int(batch_size))
        object.__setattr__(self, "drop_last", drop_last)
        # torch keeps a flag of our method's name, "batches come in the order asked for"; the method reads as a yes to it, as it must.
        self.__dict__.pop("in_order", None)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration walks."""
        return self._order.epoch

    @property
    def position(self) -> tuple[int, int]:
        """The epoch and the number of the batch with which the next iteration begins."""
        return self._order.epoch, self._order.start_batch

    @property
    def seed(self) -> int:
        """What the shuffling depends on besides the epoch. May be assigned, as a resumed run does."""
        return self._order.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._order.seed = int(seed)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Says where the next iteration starts; the batches before ``start_batch`` are not read. The one after it starts at the next epoch.

        Raises:
            ValueError: when there is no such place.
        """
        if epoch < 0 or not 0 <= start_batch <= len(self):
            raise ValueError(f"epoch must be >= 0 and start_batch within 0..{len(self)}; got epoch={epoch}, start_batch={start_batch}.")
        self._order.epoch, self._order.start_batch = epoch, start_batch

    def share(self, rank: int, n_rank: int) -> None:
        """From here on yield one process's part of every batch; the batches that all ``n_rank`` processes read together are those of one
        process with ``n_rank`` times the batch size, cut evenly. ``share(0, 1)`` yields all rows again.

        Where the last batch has fewer rows than there are processes, :attr:`stands_in` is True for those that have none: they are given
        a row of it that is another's.

        Raises:
            ValueError: when there are fewer rows than processes.
        """
        if len(self.table) < n_rank:
            raise ValueError(f"Each of {n_rank} processes needs a row of its own; there are {len(self.table)}. Start fewer processes.")
        self._order.rank, self._order.n_rank = rank, n_rank

    @property
    def stands_in(self) -> bool:
        """Whether the epoch's last batch is another process's row, which must not count here."""
        return self._order.stands_in

    def in_order(self, rank: int = 0, n_rank: int = 1) -> TableLoader:
        """All rows of the same table in stored order, for evaluation, or one process's stretch of them; this loader's epoch stays."""
        table, n_row = self.table, len(self.table)
        if n_rank > 1:
            table = table.take(slice(n_row * rank // n_rank, n_row * (rank + 1) // n_rank))
        return TableLoader(table, self._order.batch_size, num_workers=self.num_workers, **self._options)

    def __iter__(self) -> Any:  # an iterator of batches; torch's own type for it is private
        """Walks the present epoch and moves on to the next one, also when the walk is left early."""
        if len(self.table) == 0:
            raise ValueError(
                "This loader has no rows. If a split made it, leave it a larger share in split_ratio=(train, val), whose rest is the test."
            )
        if self.num_workers == 0 and not self.pin_memory:
            batches = map(self.table.batch, iter(self._order))
        else:
            batches = _FromWorkers(super().__iter__(), self)
        self._order.advance()  # not by the order itself: DataLoader starts to walk it twice
        return batches


class _FromWorkers(Iterator[Any]):
    """Batches that other processes cut. They bring copies of the layout, but models plan once per layout: it is put back."""

    def __init__(self, batches: Any, loader: TableLoader) -> None:
        self.batches, self.loader = batches, loader

    def __next__(self) -> Any:
        batch = next(self.batches)
        x = batch if isinstance(batch, PackedFeatures) else batch[0]
        if isinstance(x, PackedFeatures):
            x.layout = self.loader.table.x.layout
        return batch

    def close(self) -> None:
        """End the processes, unless they are to serve the next epoch as well."""
        shutdown = shutdown_of(self.batches)
        if shutdown is not None and not self.loader.persistent_workers:
            shutdown()


class _Portable(Sampler["Array | slice"]):
    """The same order as arrays: they travel to workers through a pipe, whereas a view of a tensor takes all of it to shared memory."""

    def __init__(self, order: BatchOrder) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Array | slice]:
        return (rows.numpy() if isinstance(rows, Tensor) else rows for rows in iter(self.order))


def _as_it_is(batch: Any) -> Any:
    return batch
