"""Is one AUC really larger than another, where rows come in groups? The bootstrap over groups."""

from __future__ import annotations

import numpy as np

from torch_rechub.basic.metric.delong import DeLongResult, compared
from torch_rechub.basic.metric.pairs import check_rows

__all__ = ["grouped_bootstrap_test"]


def grouped_bootstrap_test(
    y: np.ndarray, p_a: np.ndarray, p_b: np.ndarray, groups: np.ndarray, n_resample: int = 1000, seed: int = 0
) -> DeLongResult:
    """The paired test that two scores of the same rows have the same AUC, where the rows of one group depend on each other.

    Groups (users) are drawn with replacement, each with all of its rows, and both areas are found anew (Field & Welsh, *Bootstrapping
    Clustered Data*, JRSS B 2007, the cluster bootstrap). The standard deviation of their differences takes the place of DeLong's
    standard error; as there, ``z`` is compared with the normal distribution. Resamples of one class are left out. It costs ``n_resample``
    passes over the rows, and needs some dozens of groups to be trusted.

    Args:
        y: labels, 0 and 1.
        p_a: the one model's scores.
        p_b: the other's.
        groups: the group of each row, such as the user's id.
        n_resample: resamples, at least 2.
        seed: the same seed draws the same resamples; no global random state is used.

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
        raise ValueError(f"n_resample must be >= 2, since a spread is measured; got {n_resample}.")
    if not len(y) or np.isnan(p_a).any() or np.isnan(p_b).any():
        return DeLongResult(*[float("nan")] * 5)
    names, member = np.unique(groups, return_inverse=True)
    first, second = _Sorted(y, p_a, member), _Sorted(y, p_b, member)
    once = np.ones(len(names), np.int64)
    auc_a, auc_b = first.area(once), second.area(once)
    if len(names) < 2:
        return compared(auc_a, auc_b, float("nan"))
    random = np.random.default_rng(seed)
    draws = (random.multinomial(len(names), np.full(len(names), 1 / len(names))) for _ in range(n_resample))
    differences = np.array([first.area(times) - second.area(times) for times in draws])
    differences = differences[~np.isnan(differences)]
    return compared(auc_a, auc_b, float(differences.var(ddof=1)) if len(differences) > 1 else float("nan"))


class _Sorted:
    """Rows sorted once by their score, so that the area of any resample is one pass over them."""

    def __init__(self, y: np.ndarray, p: np.ndarray, member: np.ndarray) -> None:
        order = np.argsort(p)
        scores = p[order]
        self.up, self.member = y[order].astype(np.int64), member[order]
        self.starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))  # of runs of equal scores

    def area(self, times: np.ndarray) -> float:
        """The area where group g counts ``times[g]`` times; NaN where one class is left."""
        amount = times[self.member]
        ups = np.add.reduceat(amount * self.up, self.starts)
        downs = np.add.reduceat(amount * (1 - self.up), self.starts)
        pairs = 2 * int(ups.sum()) * int(downs.sum())
        return float(ups @ (2 * np.cumsum(downs) - downs)) / pairs if pairs else float("nan")
