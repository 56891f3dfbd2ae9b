"""Batches of a table: by torch's DataLoader with workers, by a plain loop without."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from torch_rechub.arguments import named_arguments, unknown_argument, whole_number
from torch_rechub.basic.batch.packed import PackedFeatures
from torch_rechub.data.frames import Array
from torch_rechub.data.order import BatchOrder
from torch_rechub.data.table import Table
from torch_rechub.torch_private import forget_loader, shutdown_of

__all__ = ["TableLoader"]

_OWN = {"dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "collate_fn", "drop_last", "in_order"}
#: What is passed on to torch's DataLoader. Batches always come in the order of the seed, so ``in_order`` is not.
_OPTIONS = [name for name in inspect.signature(DataLoader).parameters if name not in _OWN]


@named_arguments
class TableLoader(DataLoader[Any]):
    """Yields ``(x, y)``, ``(x, y, weight)`` where rows are weighted, or ``x`` where there are no labels. ``x`` is packed.

    Shuffling is a function of ``(seed, epoch)``, the same with any number of workers; torch's global random state is not used.
    Each iteration walks the present epoch and advances to the next one, so a hand-written loop gets a new order each time. Without workers
    a plain loop replaces torch's DataLoader, which would add 10-15 % to the cost of a batch.

    Args:
        table: the rows.
        batch_size: rows per batch; the last one may have fewer, even one.
        shuffle: a new order each epoch; stored order otherwise.
        seed: of the shuffling; None draws one from torch's global random state (``torch.manual_seed``).
        drop_last: leave out a last batch that is not full.
        num_workers: processes that make batches; 0 is the fastest for a table in memory.
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
        whole_number("batch_size", batch_size)
        allowed = ["table", "batch_size", "shuffle", "seed", "drop_last", "num_workers", *_OPTIONS]
        unknown = next((name for name in options if name not in _OPTIONS), None)
        if unknown is not None:
            raise TypeError(unknown_argument(type(self).__name__, unknown, allowed))
        self.seed_is_drawn = seed is None  # not chosen by the user: a resumed run uses its saved seed
        if seed is None:
            seed = int(torch.randint(2**62, ())) if shuffle else 0
        self.table = table
        self.shuffle = shuffle
        self._order = BatchOrder(len(table), int(batch_size), shuffle, int(seed), drop_last)
        self._options = options
        self._in_order: dict[tuple[int, int, int], TableLoader] = {}  # the latest one, where its worker processes persist
        # Its own generator: DataLoader draws a seed for its workers at every iteration, by default from the global state.
        options = {"generator": torch.Generator().manual_seed(int(seed))} | options
        batches: Any = _Portable(self._order)  # torch's stubs want lists of indices; ``__getitems__`` takes more
        super().__init__(table, batch_sampler=batches, collate_fn=_as_it_is, num_workers=num_workers, **options)
        # With a batch sampler DataLoader sets both to None and forbids writing them.
        object.__setattr__(self, "batch_size", int(batch_size))
        object.__setattr__(self, "drop_last", drop_last)
        # torch stores a flag ``in_order``, which would hide our method; the method is truthy, as the flag's default.
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
        """What the shuffling depends on besides the epoch. A resumed run assigns it."""
        return self._order.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._order.seed = int(seed)

    def mark_seed_as_drawn(self) -> None:
        """The seed was not chosen by the user: a resumed run takes the saved one."""
        self.seed_is_drawn = True

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Set where the next iteration starts; the batches before ``start_batch`` are not read. The following one starts at the next epoch.

        Raises:
            ValueError: when the position does not exist.
        """
        if epoch < 0 or not 0 <= start_batch <= len(self):
            raise ValueError(f"epoch must be >= 0 and start_batch within 0..{len(self)}; got epoch={epoch}, start_batch={start_batch}.")
        self._order.epoch, self._order.start_batch = epoch, start_batch

    def share(self, rank: int, n_rank: int) -> None:
        """Yield only one process's part of every batch from now on. The batches that all ``n_rank`` processes read together are those of
        one process with ``n_rank`` times the batch size, divided evenly. ``share(0, 1)`` yields all rows again.

        Where the last batch has fewer rows than there are processes, the processes without a row yield a row of another process, so that
        all iterators have equally many batches. :attr:`repeats_row` is True for them.

        Raises:
            ValueError: when there are fewer rows than processes.
        """
        if len(self.table) < n_rank:
            raise ValueError(f"Each of {n_rank} processes needs at least one row; there are {len(self.table)}. Start fewer processes.")
        self._order.rank, self._order.n_rank = rank, n_rank

    @property
    def repeats_row(self) -> bool:
        """Whether the epoch's last batch is a row of another process, which must not be counted here."""
        return self._order.repeats_row

    def in_order(self, rank: int = 0, n_rank: int = 1) -> TableLoader:
        """All rows in stored order, for evaluation, or one process's part of them; this loader's epoch does not change."""
        key = (rank, n_rank, id(self.table))
        if key in self._in_order:
            return self._in_order[key]
        table, n_row = self.table, len(self.table)
        if n_rank > 1:
            table = table.take(slice(n_row * rank // n_rank, n_row * (rank + 1) // n_rank))
        loader = TableLoader(table, self._order.batch_size, num_workers=self.num_workers, **self._options)
        if self.persistent_workers:
            self._in_order = {key: loader}
        return loader

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, without the loader whose worker processes persist."""
        return {**self.__dict__, "_in_order": {}}

    def __repr__(self) -> str:
        order = f"shuffle=True, seed={self.seed}" if self.shuffle else "shuffle=False"
        labels = "" if self.table.y is not None else ", no labels"
        return f"TableLoader({len(self.table):,} rows, {len(self):,} batches of {self.batch_size:,}, {order}{labels})"

    def __iter__(self) -> Any:  # an iterator of batches; torch's type for it is private
        """Iterate over the present epoch and advance to the next one, also when the iteration ends early."""
        if len(self.table) == 0:
            raise ValueError(
                "This loader has no rows. If a split made it, give it a larger share: split_ratio=(train, val); the rest is the test set."
            )
        if self.num_workers == 0 and not self.pin_memory:
            batches = map(self.table.batch, iter(self._order))
        else:
            from_workers = super().__iter__()
            forget_loader(from_workers)
            batches = _FromWorkers(from_workers, self)
        self._order.advance()  # not by the order itself: DataLoader iterates over it twice
        return batches


class _FromWorkers(Iterator[Any]):
    """Batches from worker processes. They hold copies of the layout, which are replaced by the loader's: models plan once per layout."""

    def __init__(self, batches: Any, loader: TableLoader) -> None:
        self.batches, self.loader = batches, loader

    def __next__(self) -> Any:
        batch = next(self.batches)
        x = batch if isinstance(batch, PackedFeatures) else batch[0]
        if isinstance(x, PackedFeatures):
            x.layout = self.loader.table.x.layout
        return batch

    def close(self) -> None:
        """End the worker processes, unless they are persistent."""
        shutdown = shutdown_of(self.batches)
        if shutdown is not None and not self.loader.persistent_workers:
            shutdown()


class _Portable(Sampler["Array | slice"]):
    """The same order as arrays, which are sent to workers through a pipe; a view of a tensor would move all of it to shared memory."""

    def __init__(self, order: BatchOrder) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Array | slice]:
        return (rows.numpy() if isinstance(rows, Tensor) else rows for rows in iter(self.order))


def _as_it_is(batch: Any) -> Any:
    return batch
