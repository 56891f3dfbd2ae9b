"""Makes loaders from columns: training rows in shuffled order, validation and test rows in stored order."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import torch

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.data.loader import TableLoader
from torch_rechub.data.table import Table

__all__ = ["DataGenerator", "MatchDataGenerator"]

logger = logging.getLogger(__name__)

DEFAULT_BATCH_SIZE = 16
_warned: set[int] = set()  # processes that were told
LARGE_TABLE = 10_000  #: rows from which the default batch size is warned of


@named_arguments
class DataGenerator:
    """Makes train, validation and test loaders.

    Args:
        x: a dict of arrays, tensors or lists, a pandas or polars DataFrame, or an Arrow table; copied, never changed.
        y: labels, one column or several.
        weight: row weights for the loss and the metrics, >= 0; None gives all rows the same weight.

    Raises:
        TypeError: when a column holds no numbers.
        ValueError: when the lengths differ or there is no row; see :meth:`Table.from_columns`.

    Example:
        >>> generator = DataGenerator({"item": list(range(10))}, y=[0, 1] * 5)
        >>> train, val, test = generator.generate_dataloader(split_ratio=(0.7, 0.1), batch_size=4, seed=0)
        >>> [len(loader.table) for loader in (train, val, test)]
        [7, 1, 2]
    """

    def __init__(self, x: object, y: object, weight: object = None) -> None:
        if y is None:
            raise ValueError("DataGenerator needs labels; got y=None. To predict only, use TableLoader(Table.from_columns(x)).")
        self.table = Table.from_columns(x, y, weight)
        self.length = len(self.table)

    @property
    def dataset(self) -> Table:
        """The rows ``({name: value}, label)``, for a torch ``DataLoader``."""
        return self.table

    def __repr__(self) -> str:
        return f"DataGenerator({self.table!r})"

    @named_arguments
    def generate_dataloader(
        self,
        x_val: object = None,
        y_val: object = None,
        x_test: object = None,
        y_test: object = None,
        split_ratio: Sequence[float] | None = None,
        batch_size: int | None = None,
        num_workers: int = 0,
        seed: int | None = None,
        *,
        weight_val: object = None,
        weight_test: object = None,
    ) -> tuple[TableLoader, TableLoader | None, TableLoader | None]:
        """The train loader (shuffled), and the validation and test loaders (in stored order); None for a set that was not given.

        Args:
            x_val: the validation columns, with the names of the training columns.
            y_val: the validation labels.
            x_test: the test columns.
            y_test: the test labels; without them the test loader yields features only, as ``predict`` accepts.
            split_ratio: the shares of train and validation rows, instead of the four arguments above. Numbers of rows are rounded down,
                and the remaining rows are the test set. A validation share of 0 gives None. An empty test set gives a loader of length 0,
                which raises an error when it is iterated.
            batch_size: rows per batch; 16 by default, as in the existing package, which is slow for large tables.
            num_workers: processes that make batches; 0 is the fastest for a table in memory.
            seed: seed of the split and of the shuffling; None draws one from torch's global random state.
            weight_val: row weights of the validation set.
            weight_test: row weights of the test set.

        Raises:
            ValueError: when both a split and sets are given, a set is empty, or its columns differ from the training columns.
        """
        if batch_size is None:
            batch_size = DEFAULT_BATCH_SIZE
            if len(self.table) >= LARGE_TABLE and os.getpid() not in _warned:
                _warned.add(os.getpid())
                logger.warning(
                    "batch_size=%d, the default, makes an epoch of %s rows about 18 times as long as batch_size=1024 (measured by "
                    "python -m benchmarks.quick_start). Give batch_size=...",
                    batch_size,
                    f"{len(self.table):,}",
                )
        seed_is_drawn, seed = seed is None, int(torch.randint(2**62, ())) if seed is None else whole_number("seed", seed, least=0)
        if split_ratio is not None:
            if any(argument is not None for argument in (x_val, y_val, x_test, y_test, weight_val, weight_test)):
                raise ValueError("Pass either split_ratio or validation and test sets; got both.")
            train, val, test = _split_rows(self.table, split_ratio, seed)
        else:
            train = self.table
            val = self._table_of("val", x_val, y_val, weight_val)
            test = self._table_of("test", x_test, y_test, weight_test)
            if val is not None and val.y is None:
                raise ValueError("Validation needs labels; got x_val without y_val. Pass y_val, too.")
        train_loader = TableLoader(train, batch_size, shuffle=True, seed=seed, num_workers=num_workers)
        if seed_is_drawn:
            train_loader.mark_seed_as_drawn()
        return (
            train_loader,
            None if val is None else TableLoader(val, batch_size, num_workers=num_workers),
            None if test is None else TableLoader(test, batch_size, num_workers=num_workers),
        )

    def _table_of(self, set_name: str, x: object, y: object, weight: object) -> Table | None:
        if x is None:
            if y is not None or weight is not None:
                raise ValueError(
                    f"Labels and weights need columns; got y_{set_name} or weight_{set_name} without x_{set_name}. Pass x_{set_name}, too."
                )
            return None
        table = Table.from_columns(x, y, weight)
        _check_same_columns(self.table, table, f"x_{set_name}")
        return table


@named_arguments
class MatchDataGenerator:
    """Makes the three loaders for retrieval: of training pairs, of test users and of all items.

    Args:
        x: training columns, as in :class:`DataGenerator`.
        y: labels; empty or None for pair-wise training, whose loader yields features only.

    Example:
        >>> generator = MatchDataGenerator({"user": [0, 1], "item": [5, 6]}, y=[1, 0])
        >>> train, users, items = generator.generate_dataloader({"user": [0, 1]}, {"item": [5, 6, 7]}, batch_size=2, num_workers=0)
        >>> [batch["item"].tolist() for batch in items]
        [[5, 6], [7]]
    """

    def __init__(self, x: object, y: object = ()) -> None:
        self.table = Table.from_columns(x, None if y is None or len(y) == 0 else y)  # type: ignore[arg-type]  # all types with rows have a length

    @property
    def dataset(self) -> Table:
        """The training rows, for a torch ``DataLoader``."""
        return self.table

    def __repr__(self) -> str:
        return f"MatchDataGenerator({self.table!r})"

    @named_arguments
    def generate_dataloader(
        self, x_test_user: object, x_all_item: object, batch_size: int, num_workers: int = 8, seed: int | None = None
    ) -> tuple[TableLoader, TableLoader, TableLoader]:
        """The train loader (shuffled), and the user and item loaders (in stored order, features only).

        Args:
            x_test_user: the columns of the test users, one row per user.
            x_all_item: the columns of all items.
            batch_size: rows per batch.
            num_workers: processes that make batches; it does not change the batches, and 0 is the fastest for a table in memory.
            seed: seed of the shuffling; None draws one from torch's global random state.
        """
        users, items = Table.from_columns(x_test_user), Table.from_columns(x_all_item)
        train = TableLoader(self.table, batch_size, shuffle=True, seed=seed, num_workers=num_workers)
        return train, TableLoader(users, batch_size, num_workers=num_workers), TableLoader(items, batch_size, num_workers=num_workers)


def _split_rows(table: Table, ratio: Sequence[float], seed: int) -> tuple[Table, Table | None, Table]:
    """Train, validation and test tables of random rows, each in stored order."""
    must = "split_ratio must be (train share, validation share) with a sum of at most 1, for example (0.8, 0.1)"
    if isinstance(ratio, str) or not isinstance(ratio, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{must}; got {ratio!r}. The remaining rows are the test set.")
    shares = [float(share) for share in ratio]
    if not 2 <= len(shares) <= 3 or not all(0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
        raise ValueError(f"{must}; got {tuple(ratio)}. The remaining rows are the test set.")
    n_row = len(table)
    n_train, n_val = int(n_row * shares[0]), int(n_row * shares[1])
    for set_name, n_in_set, must_have_rows in (("training", n_train, True), ("validation", n_val, shares[1] > 0)):
        if must_have_rows and n_in_set == 0:
            raise ValueError(
                f"split_ratio={tuple(ratio)} must leave rows for {set_name}; got {n_train} training and {n_val} validation "
                f"of {n_row} rows. Use a larger share or more rows."
            )
    logger.info("rows in train, validation, test: %d, %d, %d", n_train, n_val, n_row - n_train - n_val)
    order = torch.randperm(n_row, generator=torch.Generator().manual_seed(seed))
    train, val, test = (table.take(rows.sort().values) for rows in order.split([n_train, n_val, n_row - n_train - n_val]))
    return train, val if shares[1] > 0 else None, test


def _check_same_columns(train: Table, other: Table, what: str) -> None:
    """Check that ``other`` has all columns of ``train``, each of the same kind: integers, floats or lists."""
    for name, (kind, _) in train.x.layout.places.items():
        if name not in other.x:
            close = get_close_matches(name, list(other.x), n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"It has {', '.join(other.x)}."
            raise ValueError(f"{what} must have the columns of x; '{name}' is missing. {hint}")
        other_kind = other.x.layout.places[name][0]
        if (other_kind == "blocks") != (kind == "blocks"):
            words = {"ids": "integers", "numbers": "floats", "blocks": "lists"}
            raise ValueError(
                f"Column '{name}' must be of one kind in x and {what}; got {words[kind]} in x and {words[other_kind]} in {what}. "
                f"Convert one of them. Missing values turn integers into floats: fill them."
            )
