"""Aim."""

from __future__ import annotations

from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.tracking.base import BaseLogger, numbers, plain, require
from torch_rechub.storage import folder_address
from torch_rechub.types import FilePath

__all__ = ["AimLogger"]


@named_arguments
class AimLogger(BaseLogger):
    """Aim, in a local repository (no server) or a remote one. ``aim up --repo FOLDER`` shows it.

    Unlike ``aim.Run``, it does not capture terminal output and does not measure the system every ten seconds; ``kwargs`` can enable both.

    Args:
        repo: the folder that holds ``.aim``, which is created if missing, or the address of a server; None is the working directory.
        experiment: the name of a group of runs.
        kwargs: further arguments of ``aim.Run``, such as ``run_hash`` to continue a run.

    Attributes:
        run: the run object of the library, for what this adapter does not cover.

    Raises:
        ImportError: telling how to install it, when ``aim`` is not installed.
    """

    def __init__(self, repo: FilePath | None = None, experiment: str | None = None, **kwargs: Any) -> None:
        library = require("aim", "AimLogger")
        defaults: dict[str, Any] = {"system_tracking_interval": None, "capture_terminal_logs": False}
        self.run: Any = library.Run(repo=None if repo is None else folder_address(repo), experiment=experiment, **(defaults | kwargs))

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        for name, value in numbers(metrics).items():
            self.run.track(value, name=name, step=step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.run["hparams"] = plain(params)

    def finish(self) -> None:
        self.run.close()
