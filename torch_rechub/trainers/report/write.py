"""Write the report of a trainer's run, or of a history alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_rechub.basic.storage import write_text
from torch_rechub.trainers.report.facts import Ending, ending_of, environment, settings_of
from torch_rechub.trainers.report.page import report_page
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    from torch_rechub.trainers.history import History

__all__ = ["write_history_report", "write_report"]


def write_report(trainer: Any, path: FilePath) -> Path:
    """The trainer's latest run as one HTML file, replaced atomically; returns its path."""
    title = f"{type(trainer.model).__name__} by {type(trainer).__name__}"
    page = report_page(trainer.history, title, ending_of(trainer), settings_of(trainer), environment(trainer.device))
    return _write(path, page)


def write_history_report(history: History, path: FilePath) -> Path:
    """A history by itself: the same page without settings."""
    kind = "stopped" if history.stop_reason else "finished"
    ending = Ending(kind, history.stop_reason or "no reason to stop is recorded")
    return _write(path, report_page(history, "Training run", ending, {}, environment()))


def _write(path: FilePath, page: str) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, page)
    return target
