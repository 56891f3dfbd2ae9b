"""The members of a trainer that measure and predict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch.checks import of_trained_model
from torch_rechub.basic.metric import Metric
from torch_rechub.data import Loader, as_loader
from torch_rechub.data.protocol import check_values_of
from torch_rechub.engine.alignment import unshared
from torch_rechub.engine.distributed import SINGLE, Ranks
from torch_rechub.engine.early_checks import follow_labels
from torch_rechub.engine.evaluation import evaluating, predict
from torch_rechub.engine.inputs import features_of
from torch_rechub.engine.objective import Objective
from torch_rechub.engine.scorer import Scorer
from torch_rechub.engine.scoring import Scoring
from torch_rechub.engine.step import autocast

__all__ = ["EvaluationFace"]


class EvaluationFace:
    """Metrics and predictions of the trainer's model, or of another one."""

    device: torch.device
    precision: str
    ranks: Ranks
    scoring: Scoring
    _objective: Objective

    @property
    def overrides_evaluate(self) -> bool:
        """Whether a subclass measures by an ``evaluate`` of its own, in place of the metrics."""
        return type(self).evaluate is not EvaluationFace.evaluate

    def make_scorer(self, rows: Metric | None = None) -> Scorer:
        """What a validation measures; ``rows`` is one more metric that keeps the rows of a validation for callbacks."""
        return self.scoring.make_scorer(rows)

    @named_arguments
    def evaluate(self, model: nn.Module | Iterable[Any] | None = None, data_loader: Iterable[Any] | None = None) -> float:
        """The monitored metric of ``model`` on a loader's rows; our loaders are read in stored order.

        ``evaluate(data_loader)`` measures the trainer's model.

        ``fit`` calls an override of it; in a run of several processes each of them, with all rows, and takes the value of the first.
        """
        return self.measure(model, data_loader)[self.scoring.monitor]

    @named_arguments
    def measure(self, model: nn.Module | Iterable[Any] | None = None, data_loader: Iterable[Any] | None = None) -> dict[str, float]:
        """Every metric of the trainer, by name, of ``model`` on a loader's rows; ``measure(data_loader)`` measures the trainer's model."""
        model, data_loader = self._model_and_loader("measure", model, data_loader)
        objective = self._objective.for_model(model)
        with of_trained_model(), evaluating(objective), autocast(self.device, self.precision):
            loader = as_loader(data_loader, "evaluation")
            check_values_of(loader, features_of(model))
            if getattr(loader, "checks_all_rows", False):
                follow_labels(self, objective.labelled(loader.sample()), SINGLE)  # type: ignore[attr-defined]
            return self.make_scorer().score(objective, loader.in_order(), self.device, SINGLE)

    @named_arguments
    def predict(self, model: nn.Module | Iterable[Any] | None = None, data_loader: Iterable[Any] | None = None) -> np.ndarray[Any, Any]:
        """The prediction of each row, ``(N,)``, in the loader's row order (stored order for our loaders).

        ``predict(data_loader)`` uses the trainer's model.
        """
        model, data_loader = self._model_and_loader("predict", model, data_loader)
        loader = as_loader(data_loader, "prediction")
        with of_trained_model():
            check_values_of(loader, features_of(model))
            return predict(self._objective.for_model(model), loader, self.device, self.precision)

    def _model_and_loader(self, method: str, model: Any, data_loader: Any) -> tuple[nn.Module, Iterable[Any]]:
        """The two arguments in either order; the trainer's model where only a loader is given."""
        if isinstance(data_loader, nn.Module) or (data_loader is None and not isinstance(model, nn.Module)):
            model, data_loader = data_loader, model
        if data_loader is None or not (model is None or isinstance(model, nn.Module)):
            raise TypeError(f"{type(self).__name__}.{method} needs a loader: {method}(model, loader), or {method}(loader).")
        return self._objective.model if model is None else model, data_loader

    def score(self, loader: Loader, rows: Metric | None, after_batch: Callable[[], None]) -> dict[str, float]:
        """Measure the model in a validation: by the scorer, or by the ``evaluate`` of a subclass. All ranks get the same numbers."""
        overridden = self.overrides_evaluate
        metrics: dict[str, float] = {}
        with evaluating(self._objective), autocast(self.device, self.precision):
            if rows is not None or not overridden:
                ranks = self.ranks if loader.is_shared else SINGLE
                metrics = self.make_scorer(rows).score(self._objective, loader.in_order(), self.device, ranks, after_batch)
            if overridden:
                with unshared(self.ranks, loader):
                    metrics[self.scoring.monitor] = float(self.evaluate(self._objective.model, loader.in_order()))
        if overridden or not loader.is_shared:  # each rank measured by itself: rank 0 decides
            metrics = self.ranks.from_first(lambda: metrics)
            if rows is not None and not self.ranks.is_single:
                rows.load_state_dict(self.ranks.from_first(rows.state_dict))
        return metrics
