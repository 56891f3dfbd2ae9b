"""The area under the ROC curve as what it is: the share of (positive, negative) pairs in the right order, group by group.

``AUC = (sum of w_i w_j [s_i > s_j] + half of w_i w_j [s_i = s_j]) / sum of w_i w_j`` over positives i and negatives j (Hanley & McNeil,
*The Meaning and Use of the Area under a ROC Curve*, Radiology 1982). One sort finds it, in place of the pairs.
"""

from __future__ import annotations

import numpy as np

__all__ = ["check_rows", "group_areas"]


def check_rows(name: str, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> None:
    """Refuse labels other than 0 and 1, rows that do not match, and weights that are no weights.

    Raises:
        ValueError: naming what came.
    """
    if len(y_true) != len(y_pred):
        raise ValueError(f"{name}: y_true and y_pred must have as many rows; got {len(y_true)} and {len(y_pred)}.")
    strange = (y_true != 0) & (y_true != 1)
    if strange.any():
        raise ValueError(
            f"{name}: y_true must hold only 0 and 1; got {y_true[strange][0]}. Make the labels binary first: (y > 0) or the like."
        )
    if weight is not None and not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(f"{name}: weights must be finite and >= 0; got {weight[~(np.isfinite(weight) & (weight >= 0))][0]}.")


def group_areas(
    y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None = None, group: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The area of each group, ties counted half, and the group's number of rows (or sum of weights).

    Without weights all counts are integers, so each area is one rounded division. A group of one class has the area NaN.

    Args:
        y_true: labels, 0 and 1.
        y_pred: scores without NaN; infinities are scores like others, and -0.0 equals 0.0.
        weight: weights of the rows; None counts rows.
        group: the group of each row; None is one group.

    Shape:
        All ``(N,)`` with N >= 1; both results ``(G,)``, in ascending order of the group.

    Example:
        >>> group_areas(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1]))
        (array([0.75]), array([3]))
    """
    order = np.argsort(y_pred) if group is None else np.lexsort((y_pred, group))
    scores, positive = y_pred[order], y_true[order].astype(bool)
    new_group = _changes(None if group is None else group[order], len(order))
    ties = np.flatnonzero(_changes(scores, len(order)) | new_group)  # where a run of equal scores in one group starts
    starts = np.flatnonzero(new_group[ties])  # where a group starts, counted in such runs
    amount = np.ones(len(order), np.int64) if weight is None else weight[order].astype(np.float64)
    ups, downs = np.add.reduceat(amount * positive, ties), np.add.reduceat(amount * ~positive, ties)
    return _areas(ups, downs, starts)


def _areas(ups: np.ndarray, downs: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From positives and negatives a run of ties, ascending: twice the pairs won, over twice the pairs."""
    below = np.cumsum(downs) - downs
    below = below - np.repeat(below[starts], np.diff(starts, append=len(downs)))  # negatives of the same group with a lower score
    won = np.add.reduceat(ups * (2 * below + downs), starts)
    n_up, n_down = np.add.reduceat(ups, starts), np.add.reduceat(downs, starts)
    pairs = 2 * n_up * n_down
    areas = np.divide(won, pairs, out=np.full(len(starts), np.nan), where=pairs > 0)
    return np.clip(areas, 0.0, 1.0), n_up + n_down


def _changes(values: np.ndarray | None, n_row: int) -> np.ndarray:
    changed = np.zeros(n_row, bool)
    changed[0] = True
    if values is not None:
        changed[1:] = values[1:] != values[:-1]
    return changed
