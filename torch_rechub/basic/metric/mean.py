"""Metrics that are weighted means over rows, or a function of a few such means."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from torch_rechub.basic.metric.base import Metric
from torch_rechub.types import Features

__all__ = ["MeanMetric"]


class MeanMetric(Metric):
    """``result(mean_1, ..., mean_k)`` with ``mean_j = sum(weight * term_j) / sum(weight)``.

    Each batch is stored as one row of float64 sums, and these are added without rounding error (``math.fsum``). The same batches therefore
    give the same bits for any order and any grouping of the merges. Another division of the rows into batches may change the last bits.

    Example:
        >>> class MeanPrediction(MeanMetric):
        ...     name, higher_is_better = "mean_prediction", None
        ...     def terms(self, y_true, y_pred):
        ...         return (y_pred,)
        >>> metric = MeanPrediction()
        >>> metric.update(torch.tensor([1, 0]), torch.tensor([0.75, 0.25]), weight=torch.tensor([3.0, 1.0]))
        >>> metric.compute()
        0.625
    """

    keeps: ClassVar[tuple[str, ...]] = ("sums",)

    @abstractmethod
    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """One or more values per row, each ``(B,)``.

        Args:
            y_true: labels in float64.
            y_pred: predictions in their original precision.
        """

    def result(self, *means: float) -> float:
        """The value computed from the means of the terms. The default is the first mean."""
        return means[0]

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """The sums of one batch: of each term, then of the weights."""
        terms = [to_float64(term) for term in self.terms(to_float64(y_true), y_pred)]
        rows = torch.stack([*terms, torch.ones_like(terms[0])])  # (terms + 1, B)
        if weight is not None:
            rows = rows * to_float64(weight)
        return {"sums": rows.sum(dim=1).unsqueeze(0)}  # (1, terms + 1)

    def compute(self) -> float:
        """The value over all rows; NaN and a logged warning if there are no rows, or if the weights sum to 0."""
        batches = self._chunks.arrays()
        if not batches:
            return self.undefined("there are no rows")
        *sums, total = (_exact_sum(column) for column in batches["sums"].T)
        if total == 0:
            return self.undefined("the weights sum to 0")
        return self.result(*(term_sum / total for term_sum in sums))


def to_float64(values: Tensor) -> Tensor:
    """``values`` in float64: on the same device, or on the CPU if the device has no float64 (mps)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _exact_sum(values: np.ndarray) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        rough = float(values.sum())
    return math.fsum(values) if math.isfinite(rough) else rough
