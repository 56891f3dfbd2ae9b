"""A table loader as the training loop reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.batch.checks import check_features, rows_numbered_by
from torch_rechub.basic.features import Feature
from torch_rechub.data.loader import TableLoader
from torch_rechub.data.validation import check_padding, check_table
from torch_rechub.storage import NATURAL, check_shape, tensor_digest

__all__ = ["TableSource"]


class TableSource:
    """A :class:`TableLoader` as a :class:`~torch_rechub.data.protocol.Loader`.

    Args:
        loader: the user's loader. Its epoch follows the training; its share of the rows is reset after a run of several processes.
    """

    is_shared = True
    checks_all_rows = True  # by check

    def __init__(self, loader: TableLoader) -> None:
        self.loader = loader
        self._rank, self._n_rank = 0, 1

    @property
    def n_batch(self) -> int | None:
        """Its length."""
        return len(self.loader)

    def share(self, rank: int, n_rank: int) -> None:
        """Read one process's part of every batch; see :meth:`TableLoader.share`."""
        self.loader.share(rank, n_rank)
        self._rank, self._n_rank = rank, n_rank

    def walk(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """The batches of an epoch from any position. A process that has no row of the last batch ends one batch earlier."""
        self.loader.set_epoch(epoch, batch)
        batches = iter(self.loader)
        return _first(batches, len(self.loader) - batch - 1) if self.loader.repeats_row else batches

    def in_order(self) -> Iterable[Any]:
        """All rows in stored order, or this process's part of them."""
        ordered = self.loader.in_order(self._rank, self._n_rank)
        return ordered if len(ordered.table) or self._n_rank == 1 else ()  # fewer rows than processes

    def check(self, features: Sequence[Feature], binary_labels: bool) -> None:
        """Check the whole table."""
        if self.loader.table.y is None:
            raise ValueError("the loader has no labels. Give DataGenerator a y.")
        check_table(self.loader.table, features, binary_labels)

    def facts(self) -> dict[str, Any]:
        """Sizes, the mean label (the positive rate of clicks), and the order of the rows."""
        loader, table = self.loader, self.loader.table
        facts: dict[str, Any] = {"rows": len(table), "batch_size": loader.batch_size}
        if table.y is not None and len(table):
            facts["mean label"] = round(float(table.y.mean(dtype=torch.float64)), 6)
        if table.weight is not None:
            facts["weighted"] = True
        return {**facts, **({"shuffle seed": loader.seed} if loader.shuffle else {})}

    def sample(self) -> Any:
        """All rows as one batch."""
        return self.loader.table.batch(slice(None))

    def n_row(self) -> int | None:
        """Number of rows."""
        return len(self.loader.table)

    def check_features(self, features: Sequence[Feature]) -> None:
        """Check the features of the whole table; labels are not needed."""
        check_padding(self.loader.table, features)
        with rows_numbered_by(self.loader.table.row_numbers):
            check_features(self.loader.table.x, features, rows_of="")

    def fingerprint(self, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Names, types, sizes and a digest of the content; and how the rows are cut into batches."""
        loader, table = self.loader, self.loader.table
        columns: dict[str, Tensor | None] = {"ids": table.x.ids, "numbers": table.x.numbers, "y": table.y, "weight": table.weight}
        columns |= {f"block {i}": block for i, block in enumerate(table.x.blocks)}
        digests = {f"content of {name}": tensor_digest({name: part}) for name, part in columns.items() if part is not None}
        facts = {"loader": type(loader).__name__, "batches": self.n_batch, "columns": list(table.x), "rows": len(table), **digests}
        order = {name: getattr(loader, name) for name in ("batch_size", "shuffle", "seed", "drop_last")}
        if loader.seed_is_drawn and saved is not None and saved.get("seed") is not None:
            order["seed"] = saved["seed"]
        return {**facts, **order}

    def state_dict(self) -> dict[str, Any]:
        """The seed of the shuffling, and where the loader's next iteration begins."""
        epoch, batch = self.loader.position
        return {"seed": self.loader.seed, "epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position, and the saved seed where the present one was drawn, not chosen."""
        check_shape(state, {"seed": int, "epoch": NATURAL, "batch": NATURAL})
        if self.loader.seed_is_drawn:
            self.loader.seed = state["seed"]
        self.loader.set_epoch(state["epoch"], state["batch"])


def _first(batches: Any, n: int) -> Iterator[Any]:
    """The first ``n`` batches; closing it ends worker processes."""
    try:
        yield from islice(batches, n)
    finally:
        if hasattr(batches, "close"):
            batches.close()
