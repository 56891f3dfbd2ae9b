"""Whether a validation is significantly better than an earlier one: a paired test of two AUCs on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.callback.early_stopping.numbers import finite
from torch_rechub.basic.callback.training import Training
from torch_rechub.basic.metric.auc import AUC
from torch_rechub.basic.metric.bootstrap import grouped_bootstrap_test
from torch_rechub.basic.metric.delong import DeLongResult, delong_test
from torch_rechub.basic.metric.pairs import check_groups

__all__ = ["Significance"]

Columns = dict[str, Tensor]


class Significance:
    """Compares a validation's predictions with those of the meaningful best, which it stores.

    The test is two-sided, as published. An improvement is a p-value below ``alpha`` with a positive difference. A validation that is
    not better therefore passes with probability at most ``alpha / 2``, for one comparison and independent rows (or groups).

    Args:
        alpha: level of the two-sided test, between 0 and 1.
        groups: a column of the validation rows whose equal values depend on each other, such as the user; then the bootstrap over groups
            decides.

    Raises:
        TypeError, ValueError: when ``alpha`` does not lie between 0 and 1.
    """

    def __init__(self, alpha: float = 0.05, groups: str | None = None) -> None:
        self.alpha = finite("alpha", alpha)
        if not 0 < self.alpha < 1:
            raise ValueError(f"EarlyStopper: alpha must lie between 0 and 1; got {alpha!r}.")
        self.groups = groups
        self.reference: Columns | None = None

    def __repr__(self) -> str:
        return f"Significance(alpha={self.alpha:g}{'' if self.groups is None else f', groups={self.groups!r}'})"

    def check(self, trainer: Training, monitor: str | None) -> None:
        """Refuse any monitored metric but the AUC.

        Raises:
            ValueError: naming the metric.
        """
        metric = trainer.metric(monitor)
        if not isinstance(metric, AUC):
            raise ValueError(
                f"EarlyStopper: min_delta='significant' tests the AUC; the monitored metric is {metric.name!r}. Monitor 'auc', or "
                "give min_delta as a number."
            )

    def rows(self, y_true: Any, y_pred: Any, groups: Any) -> Columns:
        """The rows of one validation, in copies on the CPU.

        Raises:
            ValueError: when a part is missing, or the rows are not those of the reference.
        """
        given = {"y_true": y_true, "y_pred": y_pred} | ({} if self.groups is None else {"groups": groups})
        for name, column in given.items():
            if column is None:
                raise ValueError(
                    f"EarlyStopper: min_delta='significant' compares predictions: stop_training needs {name}=... too. "
                    "stop_training(val_auc, weights, y_true=..., y_pred=...)"
                )
        rows = {name: torch.as_tensor(column).detach().reshape(-1).cpu().clone() for name, column in given.items()}
        before = self.reference
        if len(rows["y_true"]) != len(rows["y_pred"]) or (before is not None and not torch.equal(rows["y_true"], before["y_true"])):
            raise ValueError(
                "EarlyStopper: min_delta='significant' needs the same validation rows in the same order at each validation; their labels "
                "differ from those before. Use a validation loader that does not shuffle."
            )
        return rows

    def rows_of(self, predictions: Mapping[str, Tensor] | None) -> dict[str, Any]:
        """The arguments of ``stop_training``, from the predictions of a trainer's last validation.

        Raises:
            ValueError: when the rows are weighted, which neither test supports.
        """
        assert predictions is not None
        if "weight" in predictions:
            raise ValueError("EarlyStopper: min_delta='significant' does not support row weights: leave them out of the validation data.")
        groups = None if self.groups is None else predictions[self.groups]
        return {"y_true": predictions["y_true"], "y_pred": predictions["y_pred"], "groups": groups}

    def test(self, rows: Columns) -> DeLongResult:
        """The present rows against the reference's."""
        assert self.reference is not None
        y, now, before = (column.numpy() for column in (rows["y_true"], rows["y_pred"], self.reference["y_pred"]))
        if self.groups is None:
            return delong_test(y, now, before)
        groups = rows["groups"].numpy()
        check_groups(groups, f"EarlyStopper: groups '{self.groups}'")
        return grouped_bootstrap_test(y, now, before, groups)

    def is_better(self, rows: Columns) -> tuple[bool, str]:
        """Whether ``rows`` are significantly better than the reference, and the p-value in words."""
        result = self.test(rows)
        significant = result.p_value < self.alpha and result.difference > 0
        return significant, f"p = {result.p_value:.3g}"

    def set_reference(self, rows: Columns | None) -> None:
        """Make ``rows`` the reference; None forgets it."""
        self.reference = None if rows is None else {name: rows[name] for name in ("y_true", "y_pred")}
