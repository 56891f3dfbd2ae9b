"""Metrics by name, as in ``metrics=["auc", "logloss"]``."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.auc import AUC
from torch_rechub.basic.metric.base import Metric, suggest_name
from torch_rechub.basic.metric.gauc import GAUC
from torch_rechub.basic.metric.pointwise import MAE, RMSE, Accuracy, Calibration, LogLoss, NormalizedEntropy

__all__ = ["MetricSpec", "get_metric"]

#: The ways to specify a metric: by name, by class, or as an instance with its settings.
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


@named_arguments
def get_metric(spec: MetricSpec) -> Metric:
    """A new metric without data. For an instance it has the same settings, and the instance is not changed.

    Args:
        spec: a name in any case, a metric class whose constructor needs no arguments, or an instance.

    Raises:
        ValueError: naming the closest known name, when no metric has that name.
        TypeError: when ``spec`` is none of the three.

    Example:
        >>> get_metric("auc"), get_metric(GAUC(group="session")).columns
        (<AUC auc>, ('session',))
    """
    if isinstance(spec, Metric):
        return spec.empty()
    if isinstance(spec, str):
        if spec.lower() not in _BY_NAME:
            raise ValueError(f"No metric is called '{spec}'. {suggest_name(spec, _BY_NAME)}")
        return _BY_NAME[spec.lower()]()
    if isinstance(spec, type) and issubclass(spec, Metric):  # pyright: ignore[reportUnnecessaryIsInstance]
        return spec()
    raise TypeError(f"A metric must be a name, a Metric class or a Metric instance; got {spec!r}. Wrap a function in FunctionMetric(fn).")
