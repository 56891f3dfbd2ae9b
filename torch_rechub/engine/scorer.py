"""What a validation measures: metrics of rows, or of a ranking of the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from torch_rechub.arguments import closest, named_arguments
from torch_rechub.basic.metric import Metric
from torch_rechub.engine.distributed import SINGLE, Ranks
from torch_rechub.engine.objective import Objective

__all__ = ["RowScorer", "Scorer", "check_task"]


@runtime_checkable
class Scorer(Protocol):
    """Measures a model on a loader's batches. The caller sets evaluation mode and disables gradients.

    A scorer may have a method ``check(batches)`` besides, which ``fit`` calls before the first step with the validation batches that are
    known; it raises a ValueError or TypeError where they cannot be measured, and runs no model.
    """

    @property
    def metrics(self) -> Sequence[Any]:
        """What is measured; each has a ``name`` and a direction ``higher_is_better``."""
        ...

    def score(
        self, objective: Objective, loader: Iterable[Any], device: torch.device, ranks: Ranks, after_batch: Callable[[], None] | None = None
    ) -> dict[str, float]:
        """Each metric's value by name, over the rows that all ranks read; the same on all ranks."""
        ...


@named_arguments
class RowScorer:
    """Metrics of labels and predictions, row by row.

    Args:
        metrics: the metrics of the only task; or for several tasks a mapping of task to metrics, whose names are then ``<metric>/<task>``.
        rows: one more metric that sees the rows of the first task and keeps them; see ``Callback.needs_predictions``.
    """

    def __init__(self, metrics: Sequence[Metric] | Mapping[Any, Sequence[Metric]], rows: Metric | None = None) -> None:
        self.by_task: Mapping[Any, Sequence[Metric]] = metrics if isinstance(metrics, Mapping) else {None: metrics}
        self.rows = rows

    @property
    def metrics(self) -> list[Metric]:
        """All metrics."""
        return [metric for metrics in self.by_task.values() for metric in metrics]

    def __repr__(self) -> str:
        return f"RowScorer({', '.join(metric.name for metric in self.metrics)})"

    def score(
        self,
        objective: Objective,
        loader: Iterable[Any],
        device: torch.device,
        ranks: Ranks = SINGLE,
        after_batch: Callable[[], None] | None = None,
    ) -> dict[str, float]:
        """Each metric's value by name.

        Raises:
            ValueError: when there are no batches or no labels.
        """
        fresh = {task: [metric.empty() for metric in metrics] for task, metrics in self.by_task.items()}
        n_batch = 0
        for batch in loader:
            self._update(fresh, objective.judge(objective.to_device(batch, device)))
            n_batch += 1
            if after_batch is not None:
                after_batch()
        metrics = [metric for each in fresh.values() for metric in each]
        if not ranks.is_single:
            n_batch = sum(n for (n,) in ranks.all_gather_ints([n_batch]))
            for metric in (*metrics, *([] if self.rows is None else [self.rows])):
                _merge(metric, ranks.all_gather_objects(metric.state_dict()))
        if n_batch == 0:
            raise ValueError(
                "The loader yields no batch: there is nothing to evaluate. An iterator can be walked once only; give a list or a loader."
            )
        return ranks.from_first(lambda: {metric.name: metric.compute() for metric in metrics})

    def _update(self, fresh: Mapping[str | None, Sequence[Metric]], judged: Mapping[str, Any]) -> None:
        first = next(iter(judged.values()))
        for i, (task, metrics) in enumerate(fresh.items()):
            if task is not None:
                check_task(task, judged)
            rows = first if task is None else judged[task]
            if rows.y is None:
                raise ValueError("Evaluation needs labels: the loader must yield (x, y) or (x, y, weight); got x alone.")
            for metric in (*metrics, *([self.rows] if self.rows is not None and i == 0 else [])):
                metric.update(rows.y, rows.prediction, rows.weight, rows.columns)


def check_task(task: str, known: Mapping[str, Any]) -> None:
    """Refuse metrics of a task that the objective does not have.

    Raises:
        ValueError: naming the task and the closest one.
    """
    if task not in known:
        close = closest(task, list(known))
        remedy = f"Did you mean {close[0]!r}?" if close else "Name one of them."
        raise ValueError(f"metrics are given for the task {task!r}; the objective has {list(known)}. {remedy}")


def _merge(metric: Metric, states: list[dict[str, Any]]) -> None:
    """Give ``metric`` the rows that all ranks saw, in their order."""
    metric.load_state_dict(states[0])
    for state in states[1:]:
        other = metric.empty()
        other.load_state_dict(state)
        metric.merge(other)
