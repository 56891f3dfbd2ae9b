"""The base class of loggers, and functions that the adapters share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch

from torch_rechub.optional_libraries import import_library

__all__ = ["BaseLogger", "Steps", "numbers", "plain", "require"]


class BaseLogger(ABC):
    """The interface that a trainer uses: settings once, metrics at each validation, ``finish`` at the end. A logger belongs to one run.

    NaN and infinities are passed on unchanged. ``finish`` may be called more than once.
    """

    @abstractmethod
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Record metrics at position ``step`` of the x axis; None is the position after the last."""

    @abstractmethod
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Record the settings of the run."""

    @abstractmethod
    def finish(self) -> None:
        """Write pending data and close the logger; further calls do nothing."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Steps:
    """Positions on the x axis, for trackers that do not count steps themselves.

    Example:
        >>> steps = Steps()
        >>> [steps.at(None), steps.at(7), steps.at(None)]
        [0, 7, 8]
    """

    def __init__(self) -> None:
        self._next = 0

    def at(self, step: int | None) -> int:
        """``step``, or the position after the last for None."""
        position = self._next if step is None else int(step)
        self._next = position + 1
        return position


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The values that are a single number, as floats. None, strings and lists are left out.

    Example:
        >>> numbers({"auc": torch.tensor(0.5), "n": 3, "note": "better", "missing": None})
        {'auc': 0.5, 'n': 3.0}
    """
    floats: dict[str, float] = {}
    for name, value in metrics.items():
        single = value.numel() == 1 if isinstance(value, torch.Tensor) else getattr(value, "size", 1) == 1
        if value is None or isinstance(value, str | bytes) or not single:
            continue
        try:
            floats[name] = float(value)
        except (TypeError, ValueError):
            continue
    return floats


def plain(value: Any) -> Any:
    """A value in plain Python types: numbers of torch and numpy become Python numbers, other objects become their text.

    Example:
        >>> plain({"lr": torch.tensor(0.5), "dims": (256, 128), "model": int})
        {'lr': 0.5, 'dims': [256, 128], 'model': "<class 'int'>"}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return float(value) if isinstance(value, float) else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return plain(value.tolist()) if callable(getattr(value, "tolist", None)) else str(value)


def require(module: str, logger: str, library: str | None = None) -> Any:
    """Import the library of a tracker, which pip installs by the name ``library`` (that of the module by default).

    Raises:
        ImportError: telling how to install the library, when it is not installed.
    """
    return import_library(module, logger, library, instead="JsonLinesLogger(path) needs no library.")
