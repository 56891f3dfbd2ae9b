"""Metrics as plain functions of arrays, under the names of the existing package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.auc import AUC
from torch_rechub.basic.metric.gauc import GAUC
from torch_rechub.basic.metric.pairs import check_rows, group_areas
from torch_rechub.basic.metric.pointwise import LogLoss

__all__ = ["auc_score", "gauc_score", "get_user_pred", "log_loss"]


@named_arguments
def auc_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The exact area under the ROC curve; NaN and a logged warning for one class or a NaN score.

    It is computed by :class:`~torch_rechub.basic.metric.auc.AUC`.

    Args:
        y_true: labels, 0 and 1.
        y_pred: scores of any scale.

    Shape:
        Both ``(N,)`` or ``(N, 1)``.

    Raises:
        ValueError: when the lengths differ or a label is neither 0 nor 1.

    Example:
        >>> auc_score([1, 0, 1, 0], [0.8, 0.3, 0.3, 0.1])
        0.875
    """
    return AUC().area(_column("y_true", y_true), _column("y_pred", y_pred))


@named_arguments
def gauc_score(y_true: ArrayLike, y_pred: ArrayLike, users: ArrayLike, weights: Mapping[Any, float] | None = None) -> float:
    """The mean of the users' areas, as in :class:`~torch_rechub.basic.metric.gauc.GAUC`; users with labels of one class are left out.

    Args:
        y_true: labels, 0 and 1.
        y_pred: scores of any scale.
        users: the user of each row: numbers or strings.
        weights: user -> the user's weight; None uses the user's number of rows.

    Shape:
        The three arrays: ``(N,)`` or ``(N, 1)``.

    Raises:
        ValueError: when the lengths differ, a label is neither 0 nor 1, or ``weights`` lacks a user.

    Example:
        >>> gauc_score([1, 0, 1, 0], [0.9, 0.1, 0.2, 0.3], users=["a", "a", "b", "b"], weights={"a": 3, "b": 1})
        0.75
    """
    labels, scores, groups = _column("y_true", y_true), _column("y_pred", y_pred), _column("users", users)
    check_rows("gauc", labels, scores, None)
    _check_users(labels, groups)
    if not len(labels) or np.isnan(scores).any():
        return GAUC().undefined("a score is NaN" if len(labels) else "there are no rows")
    names, codes = np.unique(groups, return_inverse=True)
    areas, sizes = group_areas(labels, scores, group=codes)
    if weights is not None:
        missing = [name for name in names.tolist() if name not in weights]
        if missing:
            raise ValueError(f"gauc: weights must hold every user; missing are {missing[:5]}. Add them, or pass weights=None.")
        sizes = np.array([weights[name] for name in names.tolist()], np.float64)
    return GAUC().average(areas, sizes)


@named_arguments
def get_user_pred(y_true: ArrayLike, y_pred: ArrayLike, users: ArrayLike) -> dict[Any, dict[str, list[Any]]]:
    """The rows of each user: ``{user: {"y_true": [...], "y_pred": [...]}}``, users and rows in order of first appearance.

    Args:
        y_true: labels.
        y_pred: scores.
        users: the user of each row: numbers or strings.

    Shape:
        All ``(N,)`` or ``(N, 1)``.

    Raises:
        ValueError: when the lengths differ.

    Example:
        >>> get_user_pred([1, 0, 1], [0.5, 0.25, 1.0], ["b", "a", "b"])
        {'b': {'y_true': [1, 1], 'y_pred': [0.5, 1.0]}, 'a': {'y_true': [0], 'y_pred': [0.25]}}
    """
    labels, scores, groups = _column("y_true", y_true), _column("y_pred", y_pred), _column("users", users)
    _check_users(labels, groups)
    _check_users(scores, groups)
    names, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes, minlength=len(names)))[:-1])
    order = np.argsort(first)
    return {
        name: {"y_true": labels[row].tolist(), "y_pred": scores[row].tolist()}
        for name, row in zip(names[order].tolist(), (rows[j] for j in order), strict=True)
    }


@named_arguments
def log_loss(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean binary cross-entropy in nats, clipped as in :class:`~torch_rechub.basic.metric.pointwise.LogLoss`.

    Args:
        y_true: labels in [0, 1].
        y_pred: probabilities.

    Shape:
        Both ``(N,)`` or ``(N, 1)``.

    Raises:
        ValueError: when the lengths differ or a number lies outside [0, 1].

    Example:
        >>> round(log_loss([1, 0], [0.5, 0.5]), 6)
        0.693147
    """
    metric = LogLoss()
    metric.update(torch.tensor(_column("y_true", y_true)), torch.tensor(_column("y_pred", y_pred)))
    return metric.compute()


def _column(name: str, values: ArrayLike | torch.Tensor | Sequence[Any]) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.ndim > 1 and array.size != array.shape[0]:
        raise ValueError(f"{name} must be (N,) or (N, 1); got {array.shape}.")
    return array.reshape(-1)


def _check_users(rows: np.ndarray, users: np.ndarray) -> None:
    if len(rows) != len(users):
        raise ValueError(f"users must have one value per row; got {len(rows)} rows and {len(users)} users.")
