"""The records of a run as plain values. Curves and pages are drawn from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, overload

from torch_rechub.arguments import named_arguments

__all__ = ["RECORD_FIELDS", "Records", "is_record_field"]

#: The names that a record uses for fields other than metrics; a metric of such a name would overwrite the field.
RECORD_FIELDS = (
    *("epoch", "step", "rows", "seconds", "loss", "lr", "is_best", "trial_counter", "verdict", "monitored"),
    *("lr_embedding", "lr_dense", "nonfinite", "memory_gb", "gpu_memory_gb"),
)
TERM = "loss/"  #: begins the field of each term of a loss of several terms


def is_record_field(name: str) -> bool:
    """Whether a record uses ``name`` for something else than a metric.

    Example:
        >>> is_record_field("lr"), is_record_field("loss/click"), is_record_field("logloss/click")
        (True, True, False)
    """
    return name in RECORD_FIELDS or name.startswith(TERM)


@named_arguments
class Records:
    """A list of records and the name of the monitored metric. Each record is a dict.

    Args:
        monitor: the name of the monitored metric; None without one.

    Attributes:
        records: the dicts, in order.
        stop_reason: why training stopped before its last epoch, or None.

    Example:
        >>> records = Records(monitor="auc")
        >>> records.append({"epoch": 1, "step": 10, "auc": 0.71, "is_best": True})
        >>> records["auc"], records.best["step"], len(records)
        ([0.71], 10, 1)
    """

    def __init__(self, monitor: str | None = None) -> None:
        self.monitor = monitor
        self.stop_reason: str | None = None
        self.records: list[dict[str, Any]] = []

    def append(self, record: dict[str, Any]) -> None:
        """Append a record."""
        self.records.append(record)

    def update_last(self, **fields: Any) -> None:
        """Add fields to the latest record."""
        self.records[-1].update(fields)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: int | str) -> Any:
        """A record by its position, or a column by its name, with None for each record without this field."""
        if isinstance(key, str):
            if self.records and not any(key in record for record in self.records):
                raise KeyError(f"{key!r}; the history has the columns {sorted({name for record in self.records for name in record})}")
            return [record.get(key) for record in self.records]
        return self.records[key]

    def epoch_ends(self, n_max: int = 8) -> list[tuple[int, int]]:
        """The epoch and the step of the last record of each epoch; of every second, third, ... epoch where there are more than ``n_max``.

        Example:
            >>> records = Records()
            >>> for epoch, step in [(1, 5), (1, 10), (2, 15), (2, 20)]:
            ...     records.append({"epoch": epoch, "step": step})
            >>> records.epoch_ends()
            [(1, 10), (2, 20)]
        """
        ends = {record["epoch"]: record["step"] for record in self.records}
        every = -(-len(ends) // n_max)
        return [(epoch, step) for epoch, step in ends.items() if epoch % max(1, every) == 0]

    @property
    def best(self) -> dict[str, Any] | None:
        """The record of the best validation; None where no validation had a finite value."""
        return next((record for record in reversed(self.records) if record.get("is_best")), None)

    def __repr__(self) -> str:
        best = self.best
        shown = "" if best is None or self.monitor is None else f", best {self.monitor} {best[self.monitor]:.6g} at step {best['step']}"
        stopped = f", stopped: {self.stop_reason}" if self.stop_reason else ""
        return f"{type(self).__name__}({len(self.records)} records{shown}{stopped})"
