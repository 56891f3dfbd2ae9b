"""DeLong's test of the difference of two AUCs, for two scores of the same rows. It sorts each score once.

The AUC is the mean of *placements*. The placement of a positive row is the share of negative rows with a lower score (``V10``), that of a
negative row is the share of positive rows with a higher score (``V01``); ties count half. The variance of the AUC is
``S10 / m + S01 / n``, with the sample (co)variances S of the placements of m positive and n negative rows: DeLong, DeLong &
Clarke-Pearson, *Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves*, Biometrics 1988, eqs. 4-7.

Sun & Xu, *Fast Implementation of DeLong's Algorithm*, IEEE Signal Processing Letters 2014, compute the placements from midranks in
O((m + n) log(m + n)). Here they are counted in sorted order, with the same result. The variance of the difference is computed from the
differences of the placements. It equals V_aa + V_bb - 2 V_ab, and it is exactly 0 if both scores give the same order of the rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.pairs import check_rows

__all__ = ["DeLongResult", "delong_test", "delong_variance"]


class DeLongResult(NamedTuple):
    """Two AUCs on the same rows, and the test of their difference."""

    auc_a: float
    auc_b: float
    difference: float  # auc_a - auc_b
    z: float  # the difference in standard errors
    p_value: float  # two-sided


@named_arguments
def delong_variance(y: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """The AUC and the variance of its estimate.

    Args:
        y: labels, 0 and 1.
        p: scores; if one is NaN, both results are NaN.

    Shape:
        ``(N,)`` each.

    Returns:
        ``(auc, variance)``. Both are NaN unless both classes have rows. The variance is NaN if a class has a single row.

    Raises:
        ValueError: when a label is neither 0 nor 1, or the lengths differ.

    Example:
        >>> auc, variance = delong_variance(np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.3, 0.5, 0.1]))
        >>> round(auc, 4), round(variance, 4)  # placements 1, 1, 1/2 and 2/3, 1
        (0.8333, 0.0556)
    """
    positives, negatives = _placements(y, p)
    return _area(positives, negatives), _variance(positives, negatives, len(positives), len(negatives))


@named_arguments
def delong_test(y: np.ndarray, p_a: np.ndarray, p_b: np.ndarray) -> DeLongResult:
    """The paired test that two scores of the same rows have the same AUC. It assumes that the rows are independent of each other.

    ``z = (A_a - A_b) / sqrt(V_aa + V_bb - 2 V_ab)`` is compared with the normal distribution. Scores that give the same order of
    the rows have the difference 0 and the p-value 1. If the estimated variance is 0 and the difference is not, z is infinite.

    Args:
        y: labels, 0 and 1.
        p_a: the scores of the first model.
        p_b: the scores of the second model.

    Shape:
        ``(N,)`` each.

    Returns:
        The areas, their difference, z and the two-sided p-value. z and the p-value are NaN if a variance is NaN.

    Raises:
        ValueError: as :func:`delong_variance`.

    Example:
        >>> y = np.array([1, 1, 1, 1, 0, 0, 0, 0])
        >>> good, poor = np.array([8, 7, 6, 3, 5, 4, 2, 1]), np.array([8, 3, 6, 2, 5, 7, 4, 1])
        >>> result = delong_test(y, good, poor)
        >>> result.difference, round(result.p_value, 3)
        (0.3125, 0.114)
    """
    (positives_a, negatives_a), (positives_b, negatives_b) = _placements(y, p_a), _placements(y, p_b)
    variance = _variance(positives_a - positives_b, negatives_a - negatives_b, len(positives_a), len(negatives_a))
    return normal_test(_area(positives_a, negatives_a), _area(positives_b, negatives_b), variance)


def normal_test(auc_a: float, auc_b: float, variance: float) -> DeLongResult:
    """The test of the difference against the normal distribution, given its variance. If both are 0, z is 0."""
    difference = auc_a - auc_b
    z_without_variance = math.copysign(math.inf, difference) if difference else 0.0
    z = difference / math.sqrt(variance) if variance != 0 else z_without_variance
    return DeLongResult(auc_a, auc_b, difference, z, math.erfc(abs(z) / math.sqrt(2)))


def _area(positives: np.ndarray, negatives: np.ndarray) -> float:
    """The area from integer counts: it has the rounding error of one division, as in :mod:`torch_rechub.basic.metric.pairs`."""
    if not len(positives) or not len(negatives) or np.isnan(positives[0]):
        return math.nan
    return int(positives.sum()) / (2 * len(positives) * len(negatives))


def _variance(positives: np.ndarray, negatives: np.ndarray, m: int, n: int) -> float:
    """``S10 / m + S01 / n``, from counts that are 2n times the placements V10 and 2m times the placements V01."""
    if m < 2 or n < 2:
        return math.nan
    return float(positives.var(ddof=1) / (4 * n**2 * m) + negatives.var(ddof=1) / (4 * m**2 * n))


def _placements(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """2n times V10 of the positive rows, ``(m,)``, and 2m times V01 of the negative rows, ``(n,)``: integers, or NaN."""
    y, p = np.asarray(y), np.asarray(p)
    check_rows("DeLong", y, p, None)
    positive = y.astype(bool)
    if not len(p) or np.isnan(p).any():
        counts = np.full(len(p), np.nan)
        return counts[positive], counts[~positive]
    order = np.argsort(p)
    scores, label = p[order], positive[order].astype(np.int64)
    starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))  # first row of each run of equal scores
    positives, negatives = np.add.reduceat(label, starts), np.add.reduceat(1 - label, starts)
    lower = 2 * np.cumsum(negatives) - negatives
    higher = 2 * (positives.sum() - np.cumsum(positives)) + positives
    lengths = np.diff(starts, append=len(p))
    counts = np.empty(len(p), np.int64)
    counts[order] = np.where(label == 1, np.repeat(lower, lengths), np.repeat(higher, lengths))
    return counts[positive], counts[~positive]
