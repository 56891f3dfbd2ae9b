"""Area under the ROC curve, exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from torch_rechub.basic.metric.base import Metric, copied
from torch_rechub.basic.metric.pairs import check_rows, group_areas
from torch_rechub.types import Features

__all__ = ["AUC"]


class AUC(Metric):
    """The probability that a positive row scores higher than a negative one; a tie counts half.

    Exact (Hanley & McNeil, Radiology 1982; see :mod:`torch_rechub.basic.metric.pairs`): no thresholds, no histogram. Without weights the
    count is of integers, so any order and any merging of the rows give the same bits. With weights a pair weighs the product of its rows'
    weights, and another order of the rows may change the last bits.

    One class alone, no rows, or a NaN score: NaN and a logged warning, so that a broken run never looks like a good one. Scores keep their
    precision (float32 or float64). Every row is kept until ``compute``: 8 to 16 bytes a row.

    Raises:
        ValueError: at ``compute``, when a label is neither 0 nor 1 or a weight is negative or not finite.

    Example:
        >>> import torch
        >>> metric = AUC()
        >>> metric.update(torch.tensor([1, 0]), torch.tensor([0.8, 0.3]))
        >>> metric.update(torch.tensor([1, 0]), torch.tensor([0.3, 0.1]))
        >>> metric.compute()
        0.875
    """

    name = "auc"
    higher_is_better = True
    keeps: ClassVar[tuple[str, ...]] = ("y_true", "y_pred", "weight")

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """The rows themselves."""
        return copied(y_true=y_true, y_pred=y_pred, weight=weight)

    def compute(self) -> float:
        """The area over all rows seen."""
        kept = self._kept.arrays()
        if not kept:
            return self.undefined("it has seen no rows")
        return self.area(kept["y_true"], kept["y_pred"], kept.get("weight"))

    def area(self, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None = None) -> float:
        """The area of these arrays, each ``(N,)``, whatever was seen before."""
        check_rows(self.name, y_true, y_pred, weight)
        if not len(y_true):
            return self.undefined("there are no rows")
        if np.isnan(y_pred).any():
            return self.undefined(f"{int(np.isnan(y_pred).sum())} of {len(y_pred)} scores are NaN")
        area = float(group_areas(y_true, y_pred, weight)[0][0])
        return self.undefined("all rows are of one class") if np.isnan(area) else area
