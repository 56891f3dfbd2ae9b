"""TensorBoard event files, written by torch or by tensorboardX."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.tracking.base import BaseLogger, Steps, numbers, require
from torch_rechub.storage import folder_address
from torch_rechub.types import FilePath

__all__ = ["TensorBoardLogger", "TensorBoardXLogger"]


class _EventFileLogger(BaseLogger):
    """The base class of both loggers, which write through a ``SummaryWriter``."""

    def __init__(self, writer: Any, folder: Any) -> None:
        self._writer = writer
        self._folder = folder
        self._steps = Steps()

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        position = self._steps.at(step)
        for name, value in numbers(metrics).items():
            self._writer.add_scalar(name, value, position)
        self._writer.flush()

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        rows = "".join(f"| {_cell(name)} | {_cell(value)} |\n" for name, value in params.items())
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", 0)

    def finish(self) -> None:
        self._writer.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(log_dir={str(self._folder)!r})"


@named_arguments
class TensorBoardLogger(_EventFileLogger):
    """TensorBoard event files, written by ``torch.utils.tensorboard``. The arguments are those of its ``SummaryWriter``.

    ``tensorboard --logdir FOLDER`` shows them. The settings are a table under *Text*.

    Args:
        log_dir: the folder of the run; None is ``runs/<date>_<host>``.
        comment: a suffix of the folder's name, used if ``log_dir`` is None.

    Raises:
        ImportError: telling how to install it, when ``tensorboard`` is not installed.
    """

    def __init__(self, log_dir: FilePath | None = None, comment: str = "", **kwargs: Any) -> None:
        library = require("torch.utils.tensorboard", "TensorBoardLogger", "tensorboard")
        folder = _default_folder(comment) if log_dir is None else log_dir
        writer = library.SummaryWriter(log_dir=folder_address(folder), **kwargs)  # which opens its file again at each flush
        super().__init__(writer, folder)


@named_arguments
class TensorBoardXLogger(_EventFileLogger):
    """TensorBoard event files, written by the small library ``tensorboardX``. The arguments are those of its ``SummaryWriter``.

    Raises:
        ImportError: telling how to install it, when ``tensorboardX`` is not installed.
    """

    def __init__(self, log_dir: FilePath, comment: str = "", **kwargs: Any) -> None:
        library = require("tensorboardX", "TensorBoardXLogger")
        super().__init__(library.SummaryWriter(log_dir=folder_address(log_dir), comment=comment, **kwargs), log_dir)


def _default_folder(comment: str) -> str:
    """The folder that torch chooses, which it would look for below the working folder of each moment."""
    return os.path.join("runs", f"{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}{comment}")


def _cell(value: Any) -> str:
    """``value`` as the text of a Markdown table cell."""
    return str(value).replace("|", "\\|").replace("\n", " ")
