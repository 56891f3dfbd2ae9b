"""The run as one HTML file, written when it ends."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.storage import absolute, expand, make_folder, refuse_obstacle
from torch_rechub.types import FilePath

__all__ = ["Report"]


@named_arguments
class Report(Callback):
    """Writes ``trainer.report(path)`` at the end of ``fit``, on every way out: curves, decisions, data, model,
    settings, environment, the reason.

    The file needs nothing from outside: it opens from disk, in a mail, on a phone. It is written after all other callbacks.

    Args:
        path: the file; a relative path is below ``model_path``, or in the working folder where that is None.
        test: a loader that the best weights are measured on, for the page; None leaves the test metrics out.

    Raises:
        OSError: naming the file that cannot be written, or before the first step what is in its place.

    Example:
        >>> Report("reports/first.html")
        Report('reports/first.html')
    """

    part_of_run = False
    every_rank = False

    def __init__(self, path: FilePath = "report.html", test: Iterable[Any] | None = None) -> None:
        self.path, self.test = expand(path, "Report's path"), test
        self._folder = Path()

    def on_fit_begin(self, trainer: Training) -> None:
        self._folder = absolute(trainer.model_path or ".")  # a callback may change the working folder
        target = self._folder / self.path
        make_folder(target.parent, "path")
        refuse_obstacle(target)

    def on_fit_end(self, trainer: Training) -> None:
        trainer.report(self._folder / self.path, self.test)

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r})"
