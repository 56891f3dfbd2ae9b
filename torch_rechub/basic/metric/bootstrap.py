"""A bootstrap test of the difference of two AUCs, for rows that come in groups."""

from __future__ import annotations

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.delong import DeLongResult, normal_test
from torch_rechub.basic.metric.pairs import check_rows

__all__ = ["grouped_bootstrap_test"]


@named_arguments
def grouped_bootstrap_test(
    y: np.ndarray, p_a: np.ndarray, p_b: np.ndarray, groups: np.ndarray, n_resample: int = 1000, seed: int = 0
) -> DeLongResult:
    """The paired test that two scores of the same rows have the same AUC, where the rows of one group depend on each other.

    Groups (users) are drawn with replacement, each with all of its rows, and both areas are computed for each resample (Field & Welsh,
    *Bootstrapping Clustered Data*, JRSS B 2007, the cluster bootstrap). The standard error is the standard deviation of the differences.
    As in DeLong's test, ``z`` is compared with the normal distribution. Resamples of one class are left out. The cost is ``n_resample``
    passes over the rows. With fewer than some dozens of groups the standard error is not reliable.

    Args:
        y: labels, 0 and 1.
        p_a: the scores of the first model.
        p_b: the scores of the second model.
        groups: the group of each row, such as the user's id.
        n_resample: number of resamples, at least 2.
        seed: seed of the resamples; no global random state is used.

    Shape:
        ``(N,)`` each.

    Returns:
        As :func:`~torch_rechub.basic.metric.delong.delong_test`; z and p-value are NaN with fewer than 2 groups.

    Raises:
        ValueError: when a label is neither 0 nor 1, the lengths differ, or ``n_resample`` is below 2.

    Example:
        >>> y, p_a, p_b = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2]), np.array([0.9, 0.1, 0.2, 0.8])
        >>> result = grouped_bootstrap_test(y, p_a, p_b, groups=np.array([7, 7, 8, 8]))
        >>> result.auc_a, result.auc_b, 0 < result.p_value < 1
        (1.0, 0.75, True)
    """
    y, p_a, p_b, groups = (np.asarray(column) for column in (y, p_a, p_b, groups))
    for column in (p_a, p_b, groups):
        check_rows("grouped_bootstrap_test", y, column, None)
    if n_resample < 2:
        raise ValueError(f"n_resample must be >= 2, because a standard deviation is computed; got {n_resample}.")
    if not len(y) or np.isnan(p_a).any() or np.isnan(p_b).any():
        return DeLongResult(*[float("nan")] * 5)
    names, group_index = np.unique(groups, return_inverse=True)
    first, second = _SortedRows(y, p_a, group_index), _SortedRows(y, p_b, group_index)
    all_once = np.ones(len(names), np.int64)
    auc_a, auc_b = first.area(all_once), second.area(all_once)
    if len(names) < 2:
        return normal_test(auc_a, auc_b, float("nan"))
    random = np.random.default_rng(seed)
    resamples = (random.multinomial(len(names), np.full(len(names), 1 / len(names))) for _ in range(n_resample))
    differences = np.array([first.area(n_drawn) - second.area(n_drawn) for n_drawn in resamples])
    differences = differences[~np.isnan(differences)]
    return normal_test(auc_a, auc_b, float(differences.var(ddof=1)) if len(differences) > 1 else float("nan"))


class _SortedRows:
    """Rows sorted by their score. The sort is done once; the area of each resample is one pass over the rows."""

    def __init__(self, y: np.ndarray, p: np.ndarray, group_index: np.ndarray) -> None:
        order = np.argsort(p)
        scores = p[order]
        self.label, self.group_index = y[order].astype(np.int64), group_index[order]
        self.starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))  # first row of each run of equal scores

    def area(self, n_drawn: np.ndarray) -> float:
        """The area of the resample that holds group g ``n_drawn[g]`` times; NaN if it has one class only."""
        count = n_drawn[self.group_index]
        positives = np.add.reduceat(count * self.label, self.starts)
        negatives = np.add.reduceat(count * (1 - self.label), self.starts)
        pairs = 2 * int(positives.sum()) * int(negatives.sum())
        return float(positives @ (2 * np.cumsum(negatives) - negatives)) / pairs if pairs else float("nan")
