"""What a logger is, and what the adapters share."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["BaseLogger", "Steps", "numbers", "plain", "require"]


class BaseLogger(ABC):
    """What a trainer asks of a logger: settings once, numbers at each check, the end. A logger belongs to one run.

    NaN and infinities are handed on as they are. ``finish`` may be called more than once.
    """

    @abstractmethod
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Record numbers, at a position on the x axis; None is the next one."""

    @abstractmethod
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Record a run's settings."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is pending and let go of everything; a second call does nothing."""


class Steps:
    """Positions on the x axis, for trackers that do not count by themselves.

    Example:
        >>> steps = Steps()
        >>> [steps.at(None), steps.at(7), steps.at(None)]
        [0, 7, 8]
    """

    def __init__(self) -> None:
        self._following = 0

    def at(self, step: int | None) -> int:
        """The given position, or the one after the last."""
        here = self._following if step is None else int(step)
        self._following = here + 1
        return here


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those values that are one number, as floats; None, words and lists have no place on a curve.

    Example:
        >>> numbers({"auc": torch.tensor(0.5), "n": 3, "why": "better", "missing": None})
        {'auc': 0.5, 'n': 3.0}
    """
    kept: dict[str, float] = {}
    for name, value in metrics.items():
        single = value.numel() == 1 if isinstance(value, torch.Tensor) else getattr(value, "size", 1) == 1
        if value is None or isinstance(value, str | bytes) or not single:
            continue
        try:
            kept[name] = float(value)
        except (TypeError, ValueError):
            continue
    return kept


def plain(value: Any) -> Any:
    """A value as trackers take it: numbers of torch and numpy as Python's, containers likewise, what is neither as its text.

    Example:
        >>> plain({"lr": torch.tensor(0.5), "dims": (256, 128), "model": int})
        {'lr': 0.5, 'dims': [256, 128], 'model': "<class 'int'>"}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return float(value) if isinstance(value, float) else value
    if isinstance(value, Mapping):
        return {str(key): plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(own) for own in value]
    return plain(value.tolist()) if callable(getattr(value, "tolist", None)) else str(value)


def require(module: str, logger: str, extra: str) -> Any:
    """Import a tracker's library.

    Raises:
        ImportError: naming the extra to install, when the library is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{logger} needs {extra}: pip install torch-rechub[{extra}]. JsonLinesLogger(path) needs nothing. ({error})"
        ) from error
