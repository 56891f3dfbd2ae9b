"""Metrics by name, so that ``metrics=["auc", "logloss"]`` is all that a user writes."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch_rechub.basic.metric.auc import AUC
from torch_rechub.basic.metric.base import Metric, closest
from torch_rechub.basic.metric.gauc import GAUC
from torch_rechub.basic.metric.pointwise import MAE, RMSE, Accuracy, Calibration, LogLoss, NormalizedEntropy

__all__ = ["MetricSpec", "get_metric"]

#: How a metric can be asked for: by name, by class, or as an instance with its settings.
MetricSpec: TypeAlias = str | type[Metric] | Metric

_BY_NAME: dict[str, Any] = {
    "auc": AUC,
    "gauc": GAUC,
    "logloss": LogLoss,
    "normalized_entropy": NormalizedEntropy,
    "ne": NormalizedEntropy,
    "calibration": Calibration,
    "accuracy": Accuracy,
    "rmse": RMSE,
    "mae": MAE,
}


def get_metric(spec: MetricSpec) -> Metric:
    """A fresh metric. An instance gives an empty one with its settings and stays as it is.

    Args:
        spec: a name (any case), a metric class that can be made without arguments, or an instance.

    Raises:
        ValueError: when no metric has that name; the message says the closest.
        TypeError: when ``spec`` is none of the three.

    Example:
        >>> get_metric("auc"), get_metric(GAUC(group="session")).columns
        (<AUC auc>, ('session',))
    """
    if isinstance(spec, Metric):
        return spec.empty()
    if isinstance(spec, str):
        if spec.lower() not in _BY_NAME:
            raise ValueError(f"No metric is called '{spec}'. {closest(spec, _BY_NAME)}")
        return _BY_NAME[spec.lower()]()
    if isinstance(spec, type) and issubclass(spec, Metric):  # pyright: ignore[reportUnnecessaryIsInstance]
        return spec()
    raise TypeError(f"A metric is asked for by name, class or instance; got {spec!r}. A function becomes one by FunctionMetric(fn).")
