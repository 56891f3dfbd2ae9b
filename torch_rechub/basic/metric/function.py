"""Any function of ``(y_true, y_pred)`` as a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from torch_rechub.basic.metric.base import Metric, copied
from torch_rechub.types import Features

__all__ = ["FunctionMetric"]


class FunctionMetric(Metric):
    """A function of all labels and all predictions: it is called once each ``compute``, never by batch. Row weights do not reach it.

    Args:
        fn: takes two 1-D numpy arrays ``(y_true, y_pred)`` and returns one number.
        name: the metric's name; None takes the function's own, or "metric" where it has none of use (a lambda, a partial, an object).
        higher_is_better: the direction, which only the caller knows.

    Raises:
        TypeError: when ``fn`` cannot be called; at ``compute``, when it returns anything but one number.

    Example:
        >>> import torch
        >>> def largest_error(y_true, y_pred):
        ...     return np.abs(y_true - y_pred).max()
        >>> metric = FunctionMetric(largest_error, higher_is_better=False)
        >>> metric.update(torch.tensor([1.0, 0.0]), torch.tensor([0.75, 0.5]))
        >>> metric.name, metric.compute()
        ('largest_error', 0.5)
    """

    keeps: ClassVar[tuple[str, ...]] = ("y_true", "y_pred")

    def __init__(self, fn: Callable[[np.ndarray, np.ndarray], Any], name: str | None = None, higher_is_better: bool = True) -> None:
        super().__init__()
        if not callable(fn):
            raise TypeError(f"FunctionMetric: fn must be a function of (y_true, y_pred); got {fn!r}.")
        self.fn = fn
        self.name = name or _name_of(fn)
        self.higher_is_better = higher_is_better

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """The rows themselves."""
        return copied(y_true=y_true, y_pred=y_pred)

    def compute(self) -> float:
        """What the function says of all rows seen."""
        kept = self._kept.arrays()
        if not kept:
            return self.undefined("it has seen no rows")
        answer = self.fn(kept["y_true"], kept["y_pred"])
        if isinstance(answer, np.ndarray) and answer.size == 1:
            answer = answer.item()
        try:
            return float(answer)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{self.name}: the function must return one number; got {type(answer).__name__}: {answer!r}.") from error


def _name_of(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "metric"
