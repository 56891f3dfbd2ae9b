"""What a run was: one record a check, to read, to tabulate, to draw and to keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

from torch_rechub.basic.storage import write_text
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["History"]


class History:
    """The records of a run, in order: one for each check, or one for each epoch where nothing validates.

    Every record has ``epoch`` (counted from 1), ``step`` (optimizer steps), ``rows``, ``seconds``, ``loss`` (the mean training loss since
    the record before), ``lr``, and after a check the metrics, ``is_best``, ``trial_counter`` and ``verdict`` (why it counted or not).

    Attributes:
        monitor: the metric that decides.
        stop_reason: why training stopped before ``n_epoch``, or None.

    Example:
        >>> history = History(monitor="auc")
        >>> history.append({"epoch": 1, "step": 10, "loss": 0.6, "lr": 0.001, "auc": 0.71, "is_best": True})
        >>> history["auc"], history.best["step"], len(history)
        ([0.71], 10, 1)
    """

    def __init__(self, monitor: str | None = None) -> None:
        self.monitor = monitor
        self.stop_reason: str | None = None
        self.records: list[dict[str, Any]] = []

    def append(self, record: dict[str, Any]) -> None:
        """Add a record."""
        self.records.append(record)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: int | str) -> Any:
        """One record by its place, or one column by its name (None where a record lacks it)."""
        if isinstance(key, str):
            if self.records and not any(key in record for record in self.records):
                raise KeyError(f"{key!r}; the history has {sorted({name for record in self.records for name in record})}")
            return [record.get(key) for record in self.records]
        return self.records[key]

    @property
    def best(self) -> dict[str, Any] | None:
        """The record of the best check, whose weights the model holds after ``fit``; None where no check had a finite value."""
        return next((record for record in reversed(self.records) if record.get("is_best")), None)

    def to_frame(self) -> pd.DataFrame:
        """The records as a pandas DataFrame.

        Raises:
            ImportError: when pandas is not installed.
        """
        try:
            import pandas as pd  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("history.to_frame() needs pandas: pip install pandas. list(history) gives plain dicts.") from error
        return pd.DataFrame(self.records)

    def plot(self, path: FilePath | None = None) -> Figure:
        """Draw the learning curves, with the best check and the stop marked.

        Args:
            path: a file to write as well; its suffix chooses the format (.svg, .png, .pdf).

        Raises:
            ImportError: when matplotlib is not installed.
            ValueError: when there is nothing to draw.
        """
        from torch_rechub.trainers.curves import draw_history

        return draw_history(self, path)

    def report(self, path: FilePath) -> None:
        """Write one HTML file with curves and decisions; ``trainer.report(path)`` has the settings and the ending as well."""
        from torch_rechub.trainers.report import write_history_report

        write_history_report(self, path)

    def save(self, path: FilePath) -> None:
        """Write the records as JSON lines, one a record; NaN is written as NaN, as Python's json reads it."""
        write_text(path, "".join(json.dumps(record) + "\n" for record in self.records))

    def __repr__(self) -> str:
        best = self.best
        shown = "" if best is None or self.monitor is None else f", best {self.monitor} {best[self.monitor]:.6g} at step {best['step']}"
        stopped = f", stopped: {self.stop_reason}" if self.stop_reason else ""
        return f"History({len(self.records)} records{shown}{stopped})"
