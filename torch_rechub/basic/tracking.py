"""Loggers: where a run's settings and metrics go. Each is a thin adapter over a tracker's own library; JSON lines need none."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch_rechub.types import FilePath

__all__ = ["BaseLogger", "JsonLinesLogger", "SwanLabLogger", "TensorBoardXLogger", "WandbLogger"]


class BaseLogger(ABC):
    """What a trainer asks of a logger."""

    @abstractmethod
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Record numbers, at a position on the x axis."""

    @abstractmethod
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Record a run's settings."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is pending and let go of everything."""


class JsonLinesLogger(BaseLogger):
    """One JSON object a line in a file; needs no server and no library. Lines are appended as they come.

    Args:
        path: the file; its folder must exist.
    """

    def __init__(self, path: FilePath) -> None:
        self.path = path

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self._write({"step": step, **metrics})

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self._write({"settings": params})

    def finish(self) -> None:
        """Nothing is pending: every line is on its way when it is written."""

    def _write(self, record: Mapping[str, Any]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str) + "\n")


class WandbLogger(BaseLogger):
    """Weights & Biases; the arguments are those of ``wandb.init``."""

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
        self._library = _import("wandb", "wandb")
        self._run = self._library.init(project=project, name=name, config=config, tags=tags, notes=notes, dir=dir, **kwargs)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self._run.log(metrics, step=step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self._run.config.update(params, allow_val_change=True)

    def finish(self) -> None:
        self._run.finish()


class SwanLabLogger(BaseLogger):
    """SwanLab; the arguments are those of ``swanlab.init``."""

    def __init__(
        self,
        project: str | None = None,
        experiment_name: str | None = None,
        description: str | None = None,
        config: dict[str, Any] | None = None,
        logdir: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._library = _import("swanlab", "swanlab")
        self._run = self._library.init(
            project=project, experiment_name=experiment_name, description=description, config=config, logdir=logdir, **kwargs
        )

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self._library.log(metrics, step=step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self._library.config.update(params)

    def finish(self) -> None:
        self._library.finish()


class TensorBoardXLogger(BaseLogger):
    """TensorBoard event files, written by ``tensorboardX``; the arguments are those of its ``SummaryWriter``."""

    def __init__(self, log_dir: str, comment: str = "", **kwargs: Any) -> None:
        self._writer = _import("tensorboardX", "tensorboardX").SummaryWriter(log_dir=log_dir, comment=comment, **kwargs)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self._writer.add_text("settings", json.dumps(params, default=str), 0)

    def finish(self) -> None:
        self._writer.close()


def _import(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"This logger needs {distribution}: pip install {distribution}") from error
