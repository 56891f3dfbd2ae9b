"""Weights & Biases."""

from __future__ import annotations

from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.tracking.base import BaseLogger, plain, require
from torch_rechub.storage import folder_address

__all__ = ["WandbLogger"]


@named_arguments
class WandbLogger(BaseLogger):
    """Weights & Biases. The arguments are those of ``wandb.init``. ``mode="offline"`` writes to ``dir`` and needs no account.

    Attributes:
        run: the run object of the library, for what this adapter does not cover.

    Raises:
        ImportError: telling how to install it, when ``wandb`` is not installed.
    """

    def __init__(
        self,
        project: str,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        folder = None if dir is None else folder_address(dir)
        library = require("wandb", "WandbLogger")
        self.run: Any = library.init(project=project, name=name, config=config, tags=tags, notes=notes, dir=folder, **kwargs)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.run.log(metrics, step=step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.run.config.update(plain(params), allow_val_change=True)

    def finish(self) -> None:
        self.run.finish()
