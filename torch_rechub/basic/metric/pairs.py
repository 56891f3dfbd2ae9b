"""The area under the ROC curve, computed for each group: the share of (positive, negative) pairs in the correct order.

``AUC = (sum of w_i w_j [s_i > s_j] + half of w_i w_j [s_i = s_j]) / sum of w_i w_j`` over positives i and negatives j (Hanley & McNeil,
*The Meaning and Use of the Area under a ROC Curve*, Radiology 1982). It is computed by one sort, without a
loop over the pairs.
"""

from __future__ import annotations

import numpy as np

__all__ = ["check_groups", "check_rows", "group_areas"]


def check_rows(name: str, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> None:
    """Refuse labels other than 0 and 1, columns of different lengths, and weights that are negative or not finite.

    Raises:
        ValueError: naming the invalid value.
    """
    if len(y_true) != len(y_pred):
        raise ValueError(f"{name}: y_true and y_pred must have the same number of rows; got {len(y_true)} and {len(y_pred)}.")
    invalid = (y_true != 0) & (y_true != 1)
    if invalid.any():
        raise ValueError(
            f"{name}: y_true must hold only 0 and 1; got {y_true[invalid][0]}. Make the labels binary first, for example by (y > 0)."
        )
    if weight is not None and not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(f"{name}: weights must be finite and >= 0; got {weight[~(np.isfinite(weight) & (weight >= 0))][0]}.")


def check_groups(group: np.ndarray, what: str) -> None:
    """Refuse groups that are missing, fractions, or float32 numbers beyond 2**24, where neighbours have been rounded into one.

    Raises:
        ValueError: naming the first such row.
    """
    if group.dtype.kind != "f":
        return
    limit = 2.0**24 if group.dtype.itemsize <= 4 else 2.0**53
    invalid = ~((group == np.floor(group)) & (np.abs(group) <= limit))
    if invalid.any():
        row = int(np.flatnonzero(invalid)[0])
        value = "a missing value (NaN)" if np.isnan(group[row]) else f"{group[row]:.12g}"
        must = f"groups in a {group.dtype} column must be whole numbers up to {limit:.0f}"
        raise ValueError(f"{what}: {must}; got {value} at row {row}. Give integers.")


def group_areas(
    y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None = None, group: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The area of each group, ties counted half, and the group's number of rows (or sum of weights).

    Without weights all counts are integers, so each area has the rounding error of one division. A group of one class has the area NaN.

    Args:
        y_true: labels, 0 and 1.
        y_pred: scores without NaN; infinities are allowed, and -0.0 equals 0.0.
        weight: row weights; None gives each row the weight 1.
        group: the group of each row; None puts all rows into one group.

    Shape:
        All ``(N,)`` with N >= 1; both results ``(G,)``, in ascending order of the group.

    Example:
        >>> group_areas(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1]))
        (array([0.75]), array([3]))
    """
    order = np.argsort(y_pred) if group is None else np.lexsort((y_pred, group))
    scores, positive = y_pred[order], y_true[order].astype(bool)
    is_group_start = _run_starts(None if group is None else group[order], len(order))
    tie_starts = np.flatnonzero(_run_starts(scores, len(order)) | is_group_start)  # first row of each run of equal scores within a group
    group_starts = np.flatnonzero(is_group_start[tie_starts])  # first run of each group
    row_weight = np.ones(len(order), np.int64) if weight is None else weight[order].astype(np.float64)
    positives = np.add.reduceat(row_weight * positive, tie_starts)
    negatives = np.add.reduceat(row_weight * ~positive, tie_starts)
    return _areas(positives, negatives, group_starts)


def _areas(positives: np.ndarray, negatives: np.ndarray, group_starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The area and the size of each group, from the positives and negatives of each run of equal scores, in ascending order.

    Both the correctly ordered pairs and all pairs are counted twice, so that a tie, which counts half, adds an integer.
    """
    n_run = np.diff(group_starts, append=len(negatives))  # runs of each group
    lower = _sums_before(negatives, group_starts, n_run)  # negatives of the same group with a lower score
    correct_pairs = np.add.reduceat(positives * (2 * lower + negatives), group_starts)
    n_positive, n_negative = np.add.reduceat(positives, group_starts), np.add.reduceat(negatives, group_starts)
    all_pairs = 2 * n_positive * n_negative
    areas = np.divide(correct_pairs, all_pairs, out=np.full(len(group_starts), np.nan), where=all_pairs > 0)
    return np.clip(areas, 0.0, 1.0), n_positive + n_negative


def _sums_before(values: np.ndarray, group_starts: np.ndarray, n_run: np.ndarray) -> np.ndarray:
    """For each run, the sum of the values of the runs before it in its group.

    Integers are added exactly by one cumulative sum of all groups. With row weights such a sum would lose the digits of a group that
    follows larger ones, so every group is summed by itself: the sums of 1, 2, 4, ... runs are joined (Hillis & Steele, *Data Parallel
    Algorithms*, CACM 1986), for all groups at once.
    """
    if values.dtype.kind != "f":
        before = np.cumsum(values) - values
        return before - np.repeat(before[group_starts], n_run)
    place = np.arange(len(values)) - np.repeat(group_starts, n_run)  # of each run within its group
    before = np.zeros_like(values)
    before[1:] = np.where(place[1:] > 0, values[:-1], 0.0)
    distance = 1
    while distance < n_run.max():
        has_earlier = np.flatnonzero(place >= distance)
        before[has_earlier] = before[has_earlier] + before[has_earlier - distance]
        distance *= 2
    return before


def _run_starts(values: np.ndarray | None, n_row: int) -> np.ndarray:
    """Whether each row is the first of a run of equal values; None is one run."""
    is_start = np.zeros(n_row, bool)
    is_start[0] = True
    if values is not None:
        is_start[1:] = values[1:] != values[:-1]
    return is_start
