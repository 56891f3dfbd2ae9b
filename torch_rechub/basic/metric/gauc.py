"""Area under the ROC curve within groups: how well the rows of one user are ordered, averaged over users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from torch_rechub.basic.metric.base import Metric, closest, copied
from torch_rechub.basic.metric.pairs import check_rows, group_areas
from torch_rechub.types import Features

__all__ = ["GAUC"]


class GAUC(Metric):
    """``sum_g n_g AUC_g / sum_g n_g`` over the groups g that have both classes, with ``n_g`` the rows of a group (its impressions).

    Zhou et al., *Deep Interest Network for Click-Through Rate Prediction*, KDD 2018, section 6.3. The paper leaves open what an AUC is
    where all labels are equal; such groups are left out of both sums. With row weights ``n_g`` is the group's weight, and its AUC is
    weighted as in ``AUC``. If no group has both classes, or a score is NaN: NaN and a logged warning.

    Args:
        group: the column of ``x`` that tells the groups apart; it need not be a feature of the model.

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
    higher_is_better = True
    keeps: ClassVar[tuple[str, ...]] = ("y_true", "y_pred", "weight", "group")

    def __init__(self, group: str = "user_id") -> None:
        super().__init__()
        self.group = group
        self.columns = (group,)

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """The rows themselves, with their group."""
        if x is None or self.group not in x:
            raise ValueError(f"GAUC: x must hold the column '{self.group}' that tells the groups apart. {closest(self.group, x or ())}")
        group = self._flat(f"x['{self.group}']", x[self.group], like=y_pred)
        return copied(y_true=y_true, y_pred=y_pred, weight=weight, group=group)

    def compute(self) -> float:
        """The weighted mean of the groups' areas."""
        kept = self._kept.arrays()
        if not kept:
            return self.undefined("it has seen no rows")
        check_rows(self.name, kept["y_true"], kept["y_pred"], kept.get("weight"))
        if np.isnan(kept["y_pred"]).any():
            return self.undefined("a score is NaN")
        return self.average(*group_areas(kept["y_true"], kept["y_pred"], kept.get("weight"), kept["group"]))

    def average(self, areas: np.ndarray, sizes: np.ndarray) -> float:
        """The mean of ``areas`` weighted by ``sizes``, each ``(G,)``, without the groups whose area is NaN."""
        both = ~np.isnan(areas)
        if not sizes[both].sum() > 0:
            return self.undefined("no group has rows of both classes")
        return float(areas[both] @ sizes[both] / sizes[both].sum())
