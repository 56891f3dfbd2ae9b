"""SwanLab."""

from __future__ import annotations

from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.tracking.base import BaseLogger, numbers, plain, require
from torch_rechub.storage import folder_address

__all__ = ["SwanLabLogger"]


@named_arguments
class SwanLabLogger(BaseLogger):
    """SwanLab. The arguments are those of ``swanlab.init``. ``mode="offline"`` writes to ``logdir`` and needs no account.

    The library allows one run at a time in a process.

    Attributes:
        run: the run object of the library, for what this adapter does not cover.

    Raises:
        ImportError: telling how to install it, when ``swanlab`` is not installed.
    """

    def __init__(
        self,
        project: str | None = None,
        experiment_name: str | None = None,
        description: str | None = None,
        config: dict[str, Any] | None = None,
        logdir: str | None = None,
        **kwargs: Any,
    ) -> None:
        folder = None if logdir is None else folder_address(logdir)
        library = require("swanlab", "SwanLabLogger")
        self.run: Any = library.init(
            project=project, experiment_name=experiment_name, description=description, config=config, logdir=folder, **kwargs
        )
        self._finished = False

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.run.log(numbers(metrics), step=step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.run.config.update(plain(params))

    def finish(self) -> None:
        if not self._finished:  # the library warns if called twice
            self._finished = True
            self.run.finish()
