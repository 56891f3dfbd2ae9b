"""Hands settings and metrics to trackers, see :mod:`torch_rechub.basic.tracking`."""

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
    counted from 0. What a logger raises breaks the run off, like an error in any callback, with the logger's class named in a note; the
    best weights are put back and saved all the same, and every other logger is finished.

    Args:
        loggers: objects with the three methods, see :mod:`torch_rechub.basic.tracking`.
    """

    part_of_run = False
    every_rank = False

    def __init__(self, loggers: Any) -> None:
        self.loggers: Sequence[Any] = list(loggers) if isinstance(loggers, list | tuple) else [loggers]
        for logger in self.loggers:
            for method in ("log_hyperparams", "log_metrics", "finish"):
                if not callable(getattr(logger, method, None)):
                    raise TypeError(f"model_logger: {logger!r} has no method {method}(). See torch_rechub.basic.tracking.BaseLogger.")

    def on_fit_begin(self, trainer: Trainer) -> None:
        try:
            self._each("log_hyperparams", trainer.settings())
        except BaseException:
            self.on_fit_end(trainer)  # who has not begun is not told of the end
            raise

    def on_validation_end(self, trainer: Trainer) -> None:
        self._log(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if not trainer.validates:
            self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        record = trainer.history[-1]
        values = {"train/loss": record["loss"], "learning_rate": record["lr"]}
        values |= {f"val/{name}": value for name, value in trainer.state.metrics.items()}
        self._each("log_metrics", values, step=len(trainer.history) - 1)

    def on_fit_end(self, trainer: Trainer) -> None:
        with ExitStack() as each:  # one that raises does not keep the others from it
            for logger in reversed(self.loggers):
                each.callback(_call, logger, "finish")

    def _each(self, method: str, *arguments: Any, **options: Any) -> None:
        for logger in self.loggers:
            _call(logger, method, *arguments, **options)


def _call(logger: Any, method: str, *arguments: Any, **options: Any) -> None:
    """Call a logger's method, and name the logger with the error."""
    try:
        getattr(logger, method)(*arguments, **options)
    except Exception as error:
        if hasattr(error, "add_note"):
            error.add_note(f"raised by the logger {type(logger).__name__}.{method}")  # type: ignore[attr-defined]
        raise
