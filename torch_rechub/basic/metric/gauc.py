"""Area under the ROC curve within groups: the AUC of each user's rows, averaged over users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.base import Metric, clone_columns, suggest_name
from torch_rechub.basic.metric.pairs import check_groups, check_rows, group_areas
from torch_rechub.types import Features

__all__ = ["GAUC"]


@named_arguments
class GAUC(Metric):
    """``sum_g n_g AUC_g / sum_g n_g`` over the groups g that have both classes; ``n_g`` is the number of rows (impressions) of group g.

    Zhou et al., *Deep Interest Network for Click-Through Rate Prediction*, KDD 2018, section 6.3. The paper does not define the AUC of a
    group whose labels are all equal; such groups are left out of both sums. With row weights, ``n_g`` is the sum of the group's weights,
    and its AUC is weighted as in ``AUC``. The value is NaN, with a logged warning, if no group has both classes or if a score is NaN.

    Args:
        group: the column of ``x`` that holds the group of each row. It need not be a feature of the model.

    Raises:
        ValueError: at ``update``, when ``x`` lacks the column; at ``compute``, as :class:`~torch_rechub.basic.metric.auc.AUC`.

    Example:
        >>> import torch
        >>> metric = GAUC(group="user_id")
        >>> x = {"user_id": torch.tensor([7, 7, 8, 8, 8, 9])}
        >>> metric.update(torch.tensor([1, 0, 1, 0, 0, 1]), torch.tensor([0.9, 0.1, 0.4, 0.4, 0.2, 0.3]), x=x)
        >>> round(metric.compute(), 6)  # (2 * 1 + 3 * 0.75) / (2 + 3)
        0.85
    """

    name = "gauc"
    labels = "binary"
    higher_is_better = True
    keeps: ClassVar[tuple[str, ...]] = ("y_true", "y_pred", "weight", "group")

    def __init__(self, group: str = "user_id") -> None:
        super().__init__()
        self.group = group
        self.columns = (group,)

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """All columns of the batch, with the group of each row."""
        if x is None or self.group not in x:
            raise ValueError(f"GAUC: x must hold the column '{self.group}' with the group of each row. {suggest_name(self.group, x or ())}")
        group = self._as_column(f"x['{self.group}']", x[self.group], like=y_pred)
        return clone_columns(y_true=y_true, y_pred=y_pred, weight=weight, group=group)

    def compute(self) -> float:
        """The weighted mean of the groups' areas."""
        rows = self._chunks.arrays()
        if not rows:
            return self.undefined("there are no rows")
        check_rows(self.name, rows["y_true"], rows["y_pred"], rows.get("weight"))
        check_groups(rows["group"], f"GAUC: column '{self.group}'")
        if np.isnan(rows["y_pred"]).any():
            return self.undefined("a score is NaN")
        return self.average(*group_areas(rows["y_true"], rows["y_pred"], rows.get("weight"), rows["group"]))

    def average(self, areas: np.ndarray, sizes: np.ndarray) -> float:
        """The mean of ``areas`` weighted by ``sizes``, each ``(G,)``. Groups whose area is NaN are left out."""
        defined = ~np.isnan(areas)
        if not sizes[defined].sum() > 0:
            return self.undefined("no group has rows of both classes")
        return float(areas[defined] @ sizes[defined] / sizes[defined].sum())
