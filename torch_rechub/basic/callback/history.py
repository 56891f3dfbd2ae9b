"""What a run was: one record per validation, to read, to tabulate, to draw and to save."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from torch_rechub.optional_libraries import import_library
from torch_rechub.report import Ending, Records, decisions_table, draw_history, environment, escape, readable_text, report_page
from torch_rechub.storage import expand, make_folder, write_figure, write_text
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["History"]


class History(Records):
    """The records of a run, in order: one per validation, or one per epoch where there is no validation.

    Every record has ``epoch`` (counted from 1), ``step`` (optimizer steps), ``rows``, ``seconds``, ``loss`` (the mean training loss since
    the record before), ``lr``, and after a validation the metrics, ``is_best``, ``trial_counter`` and ``verdict`` (why it counted or not).

    Args:
        monitor: the metric that decides.

    Attributes:
        stop_reason: why training stopped before ``n_epoch``, or None.
        best: the record of the best validation, whose weights the model holds after ``fit``; None where no validation had a finite value.

    Example:
        >>> history = History(monitor="auc")
        >>> history.append({"epoch": 1, "step": 10, "loss": 0.6, "lr": 0.001, "auc": 0.71, "is_best": True})
        >>> history["auc"], history.best["step"], len(history)
        ([0.71], 10, 1)
    """

    def stop(self, reason: str) -> None:
        """Note why training stopped; the first reason is kept."""
        self.stop_reason = self.stop_reason or reason

    def load(self, records: list[dict[str, Any]], stop_reason: str | None) -> None:
        """Continue a saved history."""
        self.records, self.stop_reason = records, stop_reason

    def to_frame(self) -> pd.DataFrame:
        """The records as a pandas DataFrame.

        Raises:
            ImportError: when pandas is not installed.
        """
        pandas = import_library("pandas", "history.to_frame()", instead="list(history) gives plain dicts.")
        return pandas.DataFrame(self.records)

    def plot(self, path: FilePath | None = None) -> Figure:
        """Draw the learning curves, with the best validation and the stop marked.

        Args:
            path: a file to write as well; its suffix chooses the format (.svg, .png, .pdf).

        Raises:
            ImportError: when matplotlib is not installed.
            ValueError: when there is nothing to draw.
        """
        figure = draw_history(self)
        if path is not None:
            with readable_text(figure, path):
                write_figure(path, figure)
        return figure

    def report(self, path: FilePath) -> None:
        """Write one HTML file with curves and decisions; ``trainer.report(path)`` has the settings and the ending as well."""
        ending = Ending("stopped" if self.stop_reason else "finished", self.stop_reason or "no reason to stop is recorded")
        make_folder(expand(path).parent, "path")
        write_text(path, report_page(self, "Training run", ending, {"Environment": environment()}))

    def _repr_html_(self) -> str:
        """What a notebook shows: how the run went in one line, and the table of its records."""
        return f"<p>{escape(repr(self))}</p>{decisions_table(self) if len(self) else ''}"

    def save(self, path: FilePath) -> None:
        """Write the records as JSON lines, one per record; NaN is written as NaN, as Python's json reads it.

        Numbers of numpy and torch are written as Python's. A value that is no number, string, list or dict is written as its text.
        """
        write_text(path, "".join(json.dumps(record, default=_plain) + "\n" for record in self.records))


def _plain(value: Any) -> Any:
    """A value that JSON does not know: arrays and tensors as numbers and lists, anything else as its text."""
    return value.tolist() if callable(getattr(value, "tolist", None)) else str(value)
