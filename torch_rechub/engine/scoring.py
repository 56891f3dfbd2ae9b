"""What a check measures, and which of it decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch_rechub.basic.metric import FunctionMetric, Metric, MetricSpec, auc_score, get_metric

__all__ = ["Direction", "Scoring"]

Direction = Literal["max", "min"]


class Scoring:
    """The metrics of a trainer, and the one that is monitored.

    Args:
        metrics: names, classes or instances.
        monitor: the metric that decides; the first one by default.
        mode: its direction, for a function that does not know its own.

    Raises:
        ValueError: when the monitored metric is none of ``metrics`` or has no direction; when asked for a direction, if the one given
            contradicts the metric's own.
    """

    def __init__(self, metrics: Sequence[MetricSpec], monitor: str | None, mode: Direction | None) -> None:
        if isinstance(metrics, str) or not metrics:
            raise ValueError(f"metrics must be a list of at least one metric, such as ['auc', 'logloss']; got {metrics!r}.")
        self.metrics: list[Metric] = [get_metric(metric) for metric in metrics]
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError(f"metrics must have different names; got {names}. Assign .name on one of two alike.")
        self.given_monitor = monitor
        self.mode: Direction | None = mode
        self._function: Callable[..., Any] | None = None
        if mode not in {None, "max", "min"}:
            raise ValueError(f"mode must be 'max' or 'min'; got {mode!r}.")
        self.expected_direction()

    @property
    def function(self) -> Callable[..., Any]:
        """The function of ``(y_true, y_pred)`` that was assigned, or the AUC."""
        return self._function or auc_score

    @function.setter
    def function(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"evaluate_fn must be a function of (y_true, y_pred); got {function!r}.")
        metric = FunctionMetric(function, higher_is_better=self.mode != "min")
        self.metrics = [metric, *(own for own in self.metrics if own.name != metric.name and not isinstance(own, FunctionMetric))]
        self._function = function
        self.given_monitor = metric.name

    @property
    def monitor(self) -> str:
        """The name of the metric that decides."""
        return self.given_monitor or self.metrics[0].name

    def of(self, name: str | None = None) -> Metric:
        """The metric called ``name``; the monitored one by default."""
        wanted = name or self.monitor
        found = next((metric for metric in self.metrics if metric.name == wanted), None)
        if found is None:
            raise ValueError(f"monitor={wanted!r} is not measured; there are {[m.name for m in self.metrics]}. Add it to metrics=[...].")
        return found

    def expected_direction(self, name: str | None = None) -> Direction:
        """Where the best of a metric will lie at ``fit``: until then a function of direction ``mode`` may yet be assigned."""
        if self.mode is not None and self._function is None and (name or self.monitor) == self.monitor:
            return self.mode
        return self.direction(name)

    def direction(self, name: str | None = None, given: Direction | None = None) -> Direction:
        """Where a metric's best lies: "max" or "min"."""
        metric = self.of(name)
        if metric.higher_is_better is None:
            raise ValueError(f"monitor={metric.name!r} has no direction: neither larger nor smaller is better. Monitor another metric.")
        own: Direction = "max" if metric.higher_is_better else "min"
        for mode in (given, self.mode if metric.name == self.monitor else None):
            if mode is not None and mode != own:
                if isinstance(metric, FunctionMetric):
                    return mode
                raise ValueError(
                    f"mode={mode!r} contradicts the metric {metric.name!r}, whose best is its {own}imum. "
                    "Leave mode out: it says where the best of an assigned evaluate_fn lies."
                )
        return own
