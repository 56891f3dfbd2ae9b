"""Several metrics monitored as one: their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_rechub.basic.callback.early_stopping.numbers import finite, number
from torch_rechub.basic.callback.training import Training

__all__ = ["WeightedMonitor"]


class WeightedMonitor:
    """``sum_k w_k * metric_k``, of which larger is better: a metric whose best is its minimum has a weight below 0.

    Args:
        weights: name of a metric -> its weight, finite and not 0.

    Raises:
        TypeError, ValueError: when there is no name, or a weight is not a finite number other than 0.

    Example:
        >>> WeightedMonitor({"auc": 1, "logloss": -1})({"auc": 0.75, "logloss": 0.5, "rmse": 0.4})
        0.25
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        if not weights:
            raise ValueError("EarlyStopper: monitor must name at least one metric, as {'auc': 1, 'logloss': -1} does; got {}.")
        self.weights = {name: finite(f"the weight of {name!r} in monitor", weight) for name, weight in weights.items()}
        for name, weight in self.weights.items():
            if weight == 0:
                raise ValueError(f"EarlyStopper: the weight of {name!r} in monitor must not be 0. Leave {name!r} out.")

    def __call__(self, metrics: Mapping[str, Any]) -> float:
        """The sum; NaN where a part of it is.

        Raises:
            ValueError: naming a metric that is not there.
        """
        for name in self.weights:
            if name not in metrics:
                raise ValueError(f"EarlyStopper: monitor names {name!r}, which is not measured; there are {list(metrics)}.")
        return sum(weight * number(metrics[name], name) for name, weight in self.weights.items())

    def check(self, trainer: Training) -> None:
        """Refuse a name that the trainer does not measure, and a weight that rewards the worse.

        Raises:
            ValueError: naming the metric.
        """
        for name, weight in self.weights.items():
            direction = trainer.direction(name)
            if (weight > 0) != (direction == "max"):
                side = "above" if direction == "max" else "below"
                raise ValueError(
                    f"EarlyStopper: the weight of {name!r} in monitor must be {side} 0, since its best is its {direction}imum; "
                    f"got {weight:g}."
                )

    def __repr__(self) -> str:
        return repr(self.weights)
