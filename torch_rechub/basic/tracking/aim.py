"""Aim."""

from __future__ import annotations

from typing import Any

from torch_rechub.basic.tracking.base import BaseLogger, numbers, plain, require
from torch_rechub.types import FilePath

__all__ = ["AimLogger"]


class AimLogger(BaseLogger):
    """Aim, in a local repository (no server) or a remote one. ``aim up --repo FOLDER`` shows it.

    Unlike ``aim.Run`` by itself, it neither captures the terminal nor measures the machine every ten seconds, unless asked to.

    Args:
        repo: the folder in which ``.aim`` lies or is to be made, or a server's address; None is the working folder.
        experiment: a name for runs that belong together.
        kwargs: the further arguments of ``aim.Run``, such as ``run_hash`` to go on with a run.

    Attributes:
        run: the library's own run, for everything that this adapter leaves out.

    Raises:
        ImportError: naming the extra, when ``aim`` is not installed.
    """

    def __init__(self, repo: FilePath | None = None, experiment: str | None = None, **kwargs: Any) -> None:
        library = require("aim", "AimLogger", "aim")
        quiet: dict[str, Any] = {"system_tracking_interval": None, "capture_terminal_logs": False}
        self.run: Any = library.Run(repo=None if repo is None else str(repo), experiment=experiment, **(quiet | kwargs))

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        for name, value in numbers(metrics).items():
            self.run.track(value, name=name, step=step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.run["hparams"] = plain(params)

    def finish(self) -> None:
        self.run.close()
