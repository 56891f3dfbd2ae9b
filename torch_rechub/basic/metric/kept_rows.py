"""All rows of a validation, for callbacks that compare two validations row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from torch_rechub.basic.metric.base import Metric, clone_columns, suggest_name
from torch_rechub.types import Features

__all__ = ["KeptRows"]


class KeptRows(Metric):
    """Stores labels, scores, weights and selected columns of every row. Its value is the number of rows.

    It merges as every metric does: the rows of several processes follow one another in the order of the merges.

    Args:
        columns: the columns of ``x`` to store as well.

    Raises:
        ValueError: at ``update``, when ``x`` lacks a column.

    Example:
        >>> import torch
        >>> rows = KeptRows(["user"])
        >>> rows.update(torch.tensor([1, 0]), torch.tensor([0.5, 0.25]), x={"user": torch.tensor([7, 8])})
        >>> rows.state_dict()
        {'y_true': tensor([1, 0]), 'y_pred': tensor([0.5000, 0.2500]), 'user': tensor([7, 8])}
    """

    name = "rows"
    higher_is_better = None
    purpose: ClassVar[str] = "which a callback needs (needs_columns; groups= of EarlyStopper)"
    keeps: ClassVar[tuple[str, ...]] = ("y_true", "y_pred", "weight")

    def __init__(self, columns: Sequence[str] = ()) -> None:
        super().__init__()
        self.columns = tuple(columns)
        self.keeps = (*type(self).keeps, *self.columns)  # type: ignore[misc]

    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """All columns of the batch, with the selected columns of ``x``."""
        return clone_columns(y_true=y_true, y_pred=y_pred, weight=weight, **{name: self._column(name, x, y_pred) for name in self.columns})

    def compute(self) -> float:
        """The number of rows."""
        return float(len(self.state_dict().get("y_pred", ())))

    def _column(self, name: str, x: Features | None, like: Tensor) -> Tensor:
        if x is None or name not in x:
            raise ValueError(f"x must hold the column '{name}', which a callback needs. {suggest_name(name, x or ())}")
        return self._as_column(f"x['{name}']", x[name], like=like)
