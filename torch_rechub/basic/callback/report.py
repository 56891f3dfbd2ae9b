"""The run as one HTML file, written when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch_rechub.basic.callback.base import Callback
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Report"]


class Report(Callback):
    """Writes ``trainer.report(path)`` at the end of ``fit``, on every way out: curves, decisions, settings, environment, the reason.

    One file with nothing from outside: it opens from disk, in a mail, on a phone. It is written after everybody else has decided and saved.

    Args:
        path: where; a relative path lies in ``model_path``, or in the working folder where that is None.

    Raises:
        OSError: naming the file that cannot be written.

    Example:
        >>> Report("reports/first.html")
        Report('reports/first.html')
    """

    every_rank = False

    def __init__(self, path: FilePath = "report.html") -> None:
        self.path = Path(path)

    def on_fit_end(self, trainer: Trainer) -> None:
        trainer.report(Path(trainer.model_path or ".") / self.path)

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r})"
