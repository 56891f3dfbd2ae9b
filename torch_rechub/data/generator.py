"""From columns to loaders in one call: training in shuffled order, validation and test in stored order."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from difflib import get_close_matches

import torch

from torch_rechub.data.loader import TableLoader
from torch_rechub.data.table import Table

__all__ = ["DataGenerator", "MatchDataGenerator"]

logger = logging.getLogger(__name__)


class DataGenerator:
    """Makes train, validation and test loaders.

    Args:
        x: a dict of arrays, tensors or lists, a pandas or polars DataFrame, or an Arrow table; copied, never changed.
        y: labels, one column or several.
        weight: how much each row counts in the loss and in metrics, a number >= 0; None counts all alike.

    Raises:
        TypeError: when a column holds no numbers.
        ValueError: when lengths differ or there is no row; see :meth:`Table.from_columns`.

    Example:
        >>> generator = DataGenerator({"item": list(range(10))}, y=[0, 1] * 5)
        >>> train, val, test = generator.generate_dataloader(split_ratio=(0.7, 0.1), batch_size=4, seed=0)
        >>> [len(loader.table) for loader in (train, val, test)]
        [7, 1, 2]
    """

    def __init__(self, x: object, y: object, weight: object = None) -> None:
        if y is None:
            raise ValueError("DataGenerator needs labels; got y=None. For prediction alone use TableLoader(Table.from_columns(x)).")
        self.table = Table.from_columns(x, y, weight)
        self.length = len(self.table)

    def generate_dataloader(
        self,
        x_val: object = None,
        y_val: object = None,
        x_test: object = None,
        y_test: object = None,
        split_ratio: Sequence[float] | None = None,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int | None = None,
        *,
        weight_val: object = None,
        weight_test: object = None,
    ) -> tuple[TableLoader, TableLoader | None, TableLoader | None]:
        """Train (shuffled), validation and test loader (in stored order). A set that was not given is None.

        Args:
            x_val: columns to validate on, by the same names as the training columns.
            y_val: their labels.
            x_test: columns to test on.
            y_test: their labels; without them the loader yields features alone, as ``predict`` takes them.
            split_ratio: in place of the four: the shares of train and validation, each rounded down to whole rows; the rest is the test.
                A validation share of 0 gives None; an empty test gives a loader of length 0 that raises when it is read.
            batch_size: rows a batch.
            num_workers: processes that cut batches; 0 is the fastest in memory.
            seed: of the split and of the shuffling; None draws one from torch's global random state.
            weight_val: row weights of the validation set.
            weight_test: row weights of the test set.

        Raises:
            ValueError: when both a split and sets are given, a set would be empty, or columns differ from the training columns.
        """
        seed_is_drawn, seed = seed is None, int(torch.randint(2**62, ())) if seed is None else seed
        if split_ratio is not None:
            if any(given is not None for given in (x_val, y_val, x_test, y_test, weight_val, weight_test)):
                raise ValueError("Give either split_ratio or validation and test sets; got both.")
            train, val, test = _split(self.table, split_ratio, seed)
        else:
            train = self.table
            val = self._further_table("val", x_val, y_val, weight_val)
            test = self._further_table("test", x_test, y_test, weight_test)
            if val is not None and val.y is None:
                raise ValueError("Validation needs labels; got x_val without y_val. Pass y_val as well.")
        train_loader = TableLoader(train, batch_size, shuffle=True, seed=seed, num_workers=num_workers)
        train_loader.seed_is_drawn = seed_is_drawn
        return (
            train_loader,
            None if val is None else TableLoader(val, batch_size, num_workers=num_workers),
            None if test is None else TableLoader(test, batch_size, num_workers=num_workers),
        )

    def _further_table(self, part: str, x: object, y: object, weight: object) -> Table | None:
        if x is None:
            if y is not None or weight is not None:
                raise ValueError(
                    f"Labels and weights belong to rows; got y_{part} or weight_{part} without x_{part}. Pass x_{part} as well."
                )
            return None
        table = Table.from_columns(x, y, weight)
        _check_same_columns(self.table, table, f"x_{part}")
        return table


class MatchDataGenerator:
    """Makes the three loaders of retrieval: training pairs, users to test, all items.

    Args:
        x: training columns, as in :class:`DataGenerator`.
        y: labels; none for pair-wise training, whose loader yields features alone.

    Example:
        >>> generator = MatchDataGenerator({"user": [0, 1], "item": [5, 6]}, y=[1, 0])
        >>> train, users, items = generator.generate_dataloader({"user": [0, 1]}, {"item": [5, 6, 7]}, batch_size=2, num_workers=0)
        >>> [batch["item"].tolist() for batch in items]
        [[5, 6], [7]]
    """

    def __init__(self, x: object, y: object = ()) -> None:
        self.table = Table.from_columns(x, None if y is None or len(y) == 0 else y)  # type: ignore[arg-type]  # whatever has rows has a length

    def generate_dataloader(
        self, x_test_user: object, x_all_item: object, batch_size: int, num_workers: int = 8, seed: int | None = None
    ) -> tuple[TableLoader, TableLoader, TableLoader]:
        """Train (shuffled), user and item loader (in stored order; features alone).

        Args:
            x_test_user: columns of the users to find items for, one row a user.
            x_all_item: columns of all items.
            batch_size: rows a batch.
            num_workers: processes that cut batches; the batches are the same with any number, and 0 is the fastest in memory.
            seed: of the shuffling; None draws one from torch's global random state.
        """
        users, items = Table.from_columns(x_test_user), Table.from_columns(x_all_item)
        train = TableLoader(self.table, batch_size, shuffle=True, seed=seed, num_workers=num_workers)
        return train, TableLoader(users, batch_size, num_workers=num_workers), TableLoader(items, batch_size, num_workers=num_workers)


def _split(table: Table, ratio: Sequence[float], seed: int) -> tuple[Table, Table | None, Table]:
    """Random parts, each in stored order."""
    shares = [float(share) for share in ratio]
    if not 2 <= len(shares) <= 3 or not all(0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
        raise ValueError(
            f"split_ratio must be (train share, validation share) with a sum of at most 1; got {tuple(ratio)}. Try (0.8, 0.1)."
        )
    n_row = len(table)
    n_train, n_val = int(n_row * shares[0]), int(n_row * shares[1])
    for part, n_part, wanted in (("training", n_train, True), ("validation", n_val, shares[1] > 0)):
        if wanted and n_part == 0:
            raise ValueError(
                f"split_ratio={tuple(ratio)} must leave rows for {part}; {n_row} rows give {n_train} and {n_val} for validation. "
                "Raise its share, or bring more rows."
            )
    logger.info("rows in train, validation, test: %d, %d, %d", n_train, n_val, n_row - n_train - n_val)
    order = torch.randperm(n_row, generator=torch.Generator().manual_seed(seed))
    train, val, test = (table.take(rows.sort().values) for rows in order.split([n_train, n_val, n_row - n_train - n_val]))
    return train, val if shares[1] > 0 else None, test


def _check_same_columns(train: Table, other: Table, what: str) -> None:
    """The columns of ``other`` include those of ``train``, and integers stay integers."""
    for name, (kind, _) in train.x.layout.places.items():
        if name not in other.x:
            close = get_close_matches(name, list(other.x), n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"It has {', '.join(other.x)}."
            raise ValueError(f"{what} must have the columns of x; '{name}' is missing. {hint}")
        got = other.x.layout.places[name][0]
        if got != kind:
            words = {"ids": "integers", "numbers": "floats", "blocks": "lists"}
            raise ValueError(
                f"Column '{name}' must be of one kind in x and {what}; got {words[kind]} in x and {words[got]} in {what}. "
                f"Convert one of them (missing values turn integers into floats: fill them)."
            )
