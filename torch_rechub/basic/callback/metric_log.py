"""Passes settings and metrics to loggers, see :mod:`torch_rechub.basic.tracking`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training

__all__ = ["MetricLog"]


@named_arguments
class MetricLog(Callback):
    """Calls ``log_hyperparams`` once, ``log_metrics`` at each record, ``finish`` at the end, on every logger.

    The names are those of the existing package, ``train/loss``, ``learning_rate``, ``val/<metric>``, and ``train/loss/<term>`` where a
    loss has several terms, and ``epoch``. The step is the record's optimizer step, the x axis of a tracker.

    An error in a logger ends the run, as an error in any callback does, with the logger's class named in a note. The best weights are
    restored and saved, and every other logger is finished.

    Args:
        loggers: objects with the three methods, see :mod:`torch_rechub.basic.tracking`.
    """

    part_of_run = False
    every_rank = False

    def __init__(self, loggers: Any) -> None:
        self.given = loggers
        self.loggers: Sequence[Any] = list(loggers) if isinstance(loggers, list | tuple) else [loggers]
        for logger in self.loggers:
            for method in ("log_hyperparams", "log_metrics", "finish"):
                if not callable(getattr(logger, method, None)):
                    raise TypeError(f"model_logger: {logger!r} has no method {method}(). See torch_rechub.basic.tracking.BaseLogger.")

    def on_fit_begin(self, trainer: Training) -> None:
        try:
            self._each("log_hyperparams", trainer.settings())
        except BaseException:
            self.on_fit_end(trainer)  # a callback whose on_fit_begin failed gets no on_fit_end
            raise

    def on_record(self, trainer: Training) -> None:
        record = trainer.history[-1]
        values = {f"train/{name}": value for name, value in record.items() if name == "loss" or name.startswith("loss/")}
        values |= {"learning_rate": record["lr"], "epoch": record["epoch"]}
        values |= {f"val/{name}": value for name, value in trainer.state.metrics.items()}
        self._each("log_metrics", values, step=record["step"])

    def on_fit_end(self, trainer: Training) -> None:
        with ExitStack() as each:  # all are finished, also where one raises
            for logger in reversed(self.loggers):
                each.callback(_call, logger, "finish")

    def _each(self, method: str, *arguments: Any, **options: Any) -> None:
        for logger in self.loggers:
            _call(logger, method, *arguments, **options)

    def __repr__(self) -> str:
        return f"MetricLog({', '.join(map(repr, self.loggers))})"


def _call(logger: Any, method: str, *arguments: Any, **options: Any) -> None:
    """Call a logger's method, and name the logger with the error."""
    try:
        getattr(logger, method)(*arguments, **options)
    except Exception as error:
        if hasattr(error, "add_note"):
            error.add_note(f"raised by the logger {type(logger).__name__}.{method}")  # type: ignore[attr-defined]
        raise
