"""TensorBoard event files, by either of the two libraries that write them."""

from __future__ import annotations

from typing import Any

from torch_rechub.basic.tracking.base import BaseLogger, Steps, numbers, require
from torch_rechub.types import FilePath

__all__ = ["TensorBoardLogger", "TensorBoardXLogger"]


class _EventFileLogger(BaseLogger):
    """What the two have in common: they write through a ``SummaryWriter``."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._steps = Steps()

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        here = self._steps.at(step)
        for name, value in numbers(metrics).items():
            self._writer.add_scalar(name, value, here)
        self._writer.flush()

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        rows = "".join(f"| {_cell(name)} | {_cell(value)} |\n" for name, value in params.items())
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", 0)

    def finish(self) -> None:
        self._writer.close()


class TensorBoardLogger(_EventFileLogger):
    """TensorBoard event files, written by ``torch.utils.tensorboard``; the arguments are those of its ``SummaryWriter``.

    ``tensorboard --logdir FOLDER`` shows them. Settings are a table under *Text*.

    Args:
        log_dir: the folder of this run; None is ``runs/<date>_<host>``.
        comment: appended to the folder's name, where ``log_dir`` is None.

    Raises:
        ImportError: naming the extra, when ``tensorboard`` is not installed.
    """

    def __init__(self, log_dir: FilePath | None = None, comment: str = "", **kwargs: Any) -> None:
        library = require("torch.utils.tensorboard", "TensorBoardLogger", "tensorboard")
        super().__init__(library.SummaryWriter(log_dir=log_dir, comment=comment, **kwargs))


class TensorBoardXLogger(_EventFileLogger):
    """TensorBoard event files, written by ``tensorboardX``, which is small; the arguments are those of its ``SummaryWriter``.

    Raises:
        ImportError: naming the extra, when ``tensorboardX`` is not installed.
    """

    def __init__(self, log_dir: FilePath, comment: str = "", **kwargs: Any) -> None:
        library = require("tensorboardX", "TensorBoardXLogger", "tensorboardx")
        super().__init__(library.SummaryWriter(log_dir=str(log_dir), comment=comment, **kwargs))


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
