"""Hands settings and metrics to trackers: TensorBoard, Weights & Biases, SwanLab, JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from torch_rechub.basic.callback.base import Callback

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["MetricLog"]


class MetricLog(Callback):
    """Calls ``log_hyperparams`` once, ``log_metrics`` at each check, ``finish`` at the end, on every logger.

    The names are those of the existing package: ``train/loss``, ``learning_rate``, ``val/<metric>``; the step is the check's number,
    counted from 0.

    Args:
        loggers: objects with the three methods, see :mod:`torch_rechub.basic.tracking`.
    """

    part_of_run = False

    def __init__(self, loggers: Any) -> None:
        self.loggers: Sequence[Any] = list(loggers) if isinstance(loggers, list | tuple) else [loggers]
        for logger in self.loggers:
            for method in ("log_hyperparams", "log_metrics", "finish"):
                if not callable(getattr(logger, method, None)):
                    raise TypeError(f"model_logger: {logger!r} has no method {method}(). See torch_rechub.basic.tracking.BaseLogger.")

    def on_fit_begin(self, trainer: Trainer) -> None:
        for logger in self.loggers:
            logger.log_hyperparams(trainer.settings())

    def on_validation_end(self, trainer: Trainer) -> None:
        self._log(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if not trainer.validates:
            self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        record = trainer.history[-1]
        values = {"train/loss": record["loss"], "learning_rate": record["lr"]}
        values |= {f"val/{name}": value for name, value in trainer.state.metrics.items()}
        for logger in self.loggers:
            logger.log_metrics(values, step=len(trainer.history) - 1)

    def on_fit_end(self, trainer: Trainer) -> None:
        with ExitStack() as each:  # one that raises does not keep the others from it
            for logger in reversed(self.loggers):
                each.callback(logger.finish)
