"""Area under the ROC curve, exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from torch_rechub.basic.metric.base import Metric, clone_columns
from torch_rechub.basic.metric.pairs import check_rows, group_areas
from torch_rechub.types import Features

__all__ = ["AUC"]


class AUC(Metric):
    """The probability that a positive row scores higher than a negative one; a tie counts half.

    The value is exact (Hanley & McNeil, Radiology 1982; see :mod:`torch_rechub.basic.metric.pairs`): it uses neither thresholds nor a
    histogram. Without weights it counts integers, so the value has the same bits for any order of the rows and any grouping of the merges.
    With weights, the weight of a pair is the product of its two row weights, and the order of the rows may change the last bits.

    The value is NaN, with a logged warning, if there are no rows, if all labels are of one class, or if a score is NaN. Scores keep their
    precision (float32 or float64). All rows are stored until ``compute``, at 8 to 16 bytes per row.

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
    labels = "binary"
    higher_is_better = True
    keeps: ClassVar[tuple[str, ...]] = ("y_true", "y_pred", "weight")

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """All columns of the batch."""
        return clone_columns(y_true=y_true, y_pred=y_pred, weight=weight)

    def compute(self) -> float:
        """The area over all rows."""
        rows = self._chunks.arrays()
        if not rows:
            return self.undefined("there are no rows")
        return self.area(rows["y_true"], rows["y_pred"], rows.get("weight"))

    def area(self, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None = None) -> float:
        """The area over the given arrays, each ``(N,)``. The rows stored by ``update`` are not used."""
        check_rows(self.name, y_true, y_pred, weight)
        if not len(y_true):
            return self.undefined("there are no rows")
        if np.isnan(y_pred).any():
            return self.undefined(f"{int(np.isnan(y_pred).sum())} of {len(y_pred)} scores are NaN")
        area = float(group_areas(y_true, y_pred, weight)[0][0])
        return self.undefined("all rows are of one class") if np.isnan(area) else area
