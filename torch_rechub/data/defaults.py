"""The default loss and metric of a task type, under the names of the existing package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric import auc_score

__all__ = ["get_loss_func", "get_metric_func"]

Task = Literal["classification", "regression"]


@named_arguments
def get_loss_func(task_type: Task = "classification") -> nn.Module:
    """Binary cross entropy of probabilities, or the mean squared error.

    Raises:
        ValueError: when ``task_type`` is neither "classification" nor "regression".

    Example:
        >>> get_loss_func("regression")
        MSELoss()
    """
    _check_task_type(task_type)
    return nn.BCELoss() if task_type == "classification" else nn.MSELoss()


@named_arguments
def get_metric_func(task_type: Task = "classification") -> Callable[[Any, Any], float]:
    """A function of ``(y_true, y_pred)``: the area under the ROC curve, or the mean squared error.

    Raises:
        ValueError: when ``task_type`` is neither "classification" nor "regression".

    Example:
        >>> get_metric_func()([0, 1, 1], [0.2, 0.1, 0.9])
        0.5
    """
    _check_task_type(task_type)
    return auc_score if task_type == "classification" else _mean_squared_error


def _check_task_type(task_type: str) -> None:
    if task_type not in ("classification", "regression"):
        raise ValueError(f"task_type must be 'classification' or 'regression'; got {task_type!r}.")


def _mean_squared_error(y_true: Any, y_pred: Any) -> float:
    return float(np.mean((np.asarray(y_true, np.float64) - np.asarray(y_pred, np.float64)) ** 2))
