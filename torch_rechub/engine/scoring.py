"""Which metrics a validation measures, and which of them decides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch_rechub.arguments import closest
from torch_rechub.basic.metric import FunctionMetric, LogLoss, Metric, MetricSpec, auc_score, get_metric
from torch_rechub.basic.metric.base import check_metric_name
from torch_rechub.engine.scorer import RowScorer, Scorer

__all__ = ["Direction", "MetricSpecs", "Scoring"]

Direction = Literal["max", "min"]
MetricSpecs: TypeAlias = Sequence[MetricSpec] | Mapping[str, Sequence[MetricSpec]] | Scorer


class Scoring:
    """The metrics of a trainer, and the one that is monitored.

    Args:
        metrics: names, classes or instances; for several tasks a mapping of task to such a list, whose metrics are then called
            ``<metric>/<task>``; or a scorer, which has its own metrics.
        monitor: the metric that decides; the first one by default.
        mode: its direction, for a function that does not know its own.
        listed: whether the user listed the metrics; one that is there by default steps aside for an assigned function of its name.

    Raises:
        ValueError: when the monitored metric is none of ``metrics`` or has no direction; when its direction is asked for and ``mode``
            contradicts it.
    """

    def __init__(self, metrics: MetricSpecs, monitor: str | None, mode: Direction | None, listed: bool = True) -> None:
        if isinstance(metrics, str) or (not isinstance(metrics, Scorer) and not metrics):
            remedy = f" Put it in brackets: metrics=[{metrics!r}]." if isinstance(metrics, str) else ""
            raise ValueError(f"metrics must be a list of at least one metric, such as ['auc', 'logloss']; got {metrics!r}.{remedy}")
        self.scorer: Scorer | None = metrics if isinstance(metrics, Scorer) else None
        self.by_task: dict[str | None, list[Any]] = {}
        if isinstance(metrics, Scorer):
            self.by_task[None] = list(metrics.metrics)
        else:
            by_task: Mapping[Any, Sequence[MetricSpec]] = metrics if isinstance(metrics, Mapping) else {None: metrics}
            self.by_task = {task: _named(task, specs) for task, specs in by_task.items()}
        names: list[str] = []
        for metric in self.metrics:
            _check_attributes(metric)
            check_metric_name(metric.name)
            if metric.name in names:
                raise ValueError(f"metrics must have different names; got two called {metric.name!r}. {_other_name(metric, names)}")
            names.append(metric.name)
        self.listed = listed
        self._defaults = None if listed else list(self.metrics)
        self._assigned: FunctionMetric | None = None
        self.given_monitor = monitor
        self.mode: Direction | None = mode
        self._function: Callable[..., Any] | None = None
        if mode not in {None, "max", "min"}:
            raise ValueError(f"mode must be 'max' or 'min'; got {mode!r}.")
        self.expected_direction()

    def __repr__(self) -> str:
        names = ", ".join(metric.name for metric in self.metrics)
        return f"Scoring({names}; monitor={self.monitor!r}, {self.expected_direction()})"

    @property
    def metrics(self) -> list[Any]:
        """All metrics, in order."""
        return [metric for metrics in self.by_task.values() for metric in metrics]

    @property
    def function(self) -> Callable[..., Any]:
        """The function of ``(y_true, y_pred)`` that was assigned, or the AUC."""
        return self._function or auc_score

    @function.setter
    def function(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"evaluate_fn must be a function of (y_true, y_pred); got {function!r}.")
        if self.scorer is not None:
            raise ValueError(f"evaluate_fn takes labels and predictions, which {type(self.scorer).__name__} does not give. Leave it out.")
        metric = FunctionMetric(function, higher_is_better=self.mode != "min")
        first = next(iter(self.by_task))
        others = [other for other in self.by_task[first] if other is not self._assigned]
        if not self.listed:  # a default metric steps aside
            others = [other for other in others if other.name != metric.name]
        check_metric_name(metric.name, [other.name for task in self.by_task for other in (others if task == first else self.by_task[task])])
        self.by_task[first] = [metric, *others]
        self._function, self._assigned = function, metric
        self.given_monitor = metric.name

    def follow_labels(self, binary: bool, instead: MetricSpec) -> bool:
        """Let default metrics that take labels of 0 and 1 only step aside for other labels, and come back for binary ones.

        Args:
            binary: whether all labels are 0 or 1.
            instead: the metric that then decides, where no function was assigned.

        Returns:
            Whether they are left out.
        """
        assigned = None if self._assigned is None else self._assigned.name
        if self._defaults is None or self.scorer is not None or self.given_monitor not in (None, assigned):
            return False
        others = [] if self._assigned is None else [self._assigned]
        if binary:
            others += [metric for metric in self._defaults if metric.name != assigned]
        elif not others:
            others = [get_metric(instead)]
        self.by_task[next(iter(self.by_task))] = others
        return not binary

    def follow_predictions(self, kind: Literal["probability", "logit", "any"]) -> None:
        """Let the log loss that is there by default read what the model predicts; as "probability" where it decides, but for logits."""
        if self._defaults is None:
            return
        for metrics in (self._defaults, *self.by_task.values()):
            for i, metric in enumerate(metrics):
                if type(metric) is LogLoss and metric.predictions != kind:
                    metrics[i] = LogLoss("probability" if kind == "any" and metric.name == self.monitor else kind)

    @property
    def monitor(self) -> str:
        """The name of the metric that decides."""
        return self.given_monitor or self.metrics[0].name

    def make_scorer(self, rows: Metric | None = None) -> Scorer:
        """What measures a validation; ``rows`` is one more metric that keeps the rows of a validation for callbacks."""
        if self.scorer is None:
            return RowScorer(self.by_task, rows)
        if rows is not None:
            raise ValueError(f"A callback needs the predictions of rows, which {type(self.scorer).__name__} does not give. Leave it out.")
        return self.scorer

    def metric(self, name: str | None = None) -> Metric:
        """The metric called ``name``; the monitored one by default."""
        wanted = name or self.monitor
        metric = next((metric for metric in self.metrics if metric.name == wanted), None)
        if metric is None:
            names = [m.name for m in self.metrics]
            close = [name for name in names if wanted.endswith(("/" + name, "_" + name))] or closest(wanted, names)
            remedy = f"Did you mean {close[0]!r}?" if close else "Add it to metrics=[...]."
            raise ValueError(f"monitor={wanted!r} is not measured; there are {names}. {remedy}")
        return metric

    def expected_direction(self, name: str | None = None, given: Direction | None = None) -> Direction:
        """The direction of a metric at ``fit``: before, a function of direction ``mode``, or ``given``, may still be assigned."""
        mode = given or self.mode
        if mode is not None and self._function is None and (name or self.monitor) == self.monitor:
            return mode
        return self.direction(name, given)

    def direction(self, name: str | None = None, given: Direction | None = None) -> Direction:
        """Where a metric's best lies: "max" or "min"."""
        metric = self.metric(name)
        if metric.higher_is_better is None:
            raise ValueError(f"monitor={metric.name!r} has no direction: neither larger nor smaller is better. Monitor another metric.")
        of_metric: Direction = "max" if metric.higher_is_better else "min"
        modes: list[Direction] = [mode for mode in (given, self.mode if metric.name == self.monitor else None) if mode is not None]
        if isinstance(metric, FunctionMetric) and modes:
            if len(set(modes)) > 1:
                raise ValueError(
                    f"mode={given!r} contradicts the trainer's mode={self.mode!r} for {metric.name!r}. Give one of them, or both alike."
                )
            return modes[0]
        for mode in modes:
            if mode != of_metric:
                raise ValueError(
                    f"mode={mode!r} contradicts the metric {metric.name!r}, whose best is its {of_metric}imum. "
                    "Leave mode out: it is for an assigned evaluate_fn."
                )
        return of_metric


def _named(task: str | None, specs: Sequence[MetricSpec]) -> list[Metric]:
    """Fresh metrics, named after their task where there are several."""
    if isinstance(specs, str) or not isinstance(specs, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"metrics of several tasks must be lists by task, such as {{{task!r}: ['auc']}}; got {specs!r} for {task!r}.")
    metrics = [get_metric(spec) for spec in specs]
    for metric in metrics:
        _check_attributes(metric)
    for metric in metrics if task is not None else ():
        metric.name = f"{metric.name}/{task}"
    return metrics


def _check_attributes(metric: Any) -> None:
    """Refuse a metric without a name or a direction."""
    for attribute in ("name", "higher_is_better"):
        if not hasattr(metric, attribute):
            example = '"bias"' if attribute == "name" else "True (False; None where it has no direction)"
            raise TypeError(f"{type(metric).__name__} has no attribute {attribute!r}. Set it in the class: {attribute} = {example}.")


def _other_name(metric: Any, names: Sequence[str]) -> str:
    """The remedy for two metrics of one name."""
    free = next(name for name in (f"{metric.name}_{number}" for number in itertools.count(2)) if name not in names)
    return f"Assign another .name to one of them, such as {free!r}."
