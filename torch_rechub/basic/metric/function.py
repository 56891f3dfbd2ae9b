"""Any function of ``(y_true, y_pred)`` as a metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.base import Metric, clone_columns
from torch_rechub.types import Features

__all__ = ["FunctionMetric", "as_number"]


@named_arguments
class FunctionMetric(Metric):
    """A function of all labels and all predictions. Each ``compute`` calls it once, with all rows. It does not receive the row weights.

    Args:
        fn: a function of two 1-D numpy arrays ``(y_true, y_pred)`` that returns one number.
        name: the metric's name. None uses the name of the function, or "metric" if it has no valid name (a lambda, a partial, an object).
        higher_is_better: whether a higher value is better.

    Raises:
        TypeError: when ``fn`` cannot be called with two arguments; at ``compute``, when it returns anything but one number.

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
        _check_arguments(fn)
        self.fn = fn
        self.name = name or _function_name(fn)
        self.higher_is_better = higher_is_better

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """All labels and predictions of the batch."""
        return clone_columns(y_true=y_true, y_pred=y_pred)

    def compute(self) -> float:
        """The function's value for all rows."""
        if not self._chunks.arrays():
            return self.undefined("there are no rows")
        return as_number(self.name, self.call())

    def call(self) -> Any:
        """What the function returns for all rows, of which there must be one."""
        rows = self._chunks.arrays()
        return self.fn(rows["y_true"], rows["y_pred"])


def as_number(name: str, value: Any) -> float:
    """The value of a metric or function as a float.

    Raises:
        TypeError: when it is not one number.
    """
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    try:
        if isinstance(value, str | bytes):
            raise TypeError("a text is no number")
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        shown = repr(value)
        shown = shown if len(shown) <= 100 else f"{shown[:100]} ..."
        raise TypeError(
            f"{name}: the function must return one number; got {type(value).__name__}: {shown}. "
            "Return the one that decides; further ones are measured by metrics=[..., FunctionMetric(fn)]."
        ) from error


def _check_arguments(fn: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with two arguments, as far as Python knows its signature."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # a function that is not written in Python may have none
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        name = getattr(fn, "__name__", type(fn).__name__)
        raise TypeError(
            f"A function that measures is called with two arrays, (y_true, y_pred); got {name}{signature}. "
            "Give further arguments a default, or bind them by a lambda or functools.partial."
        ) from error


def _function_name(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "metric"
