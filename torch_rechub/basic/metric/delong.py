"""Is one AUC really larger than another? DeLong's test for two scores of the same rows, by one sort for each.

The AUC is the mean of *placements*: of each positive row, the share of negative rows below it, ties counted half (``V10``); of each
negative row, the share of positive rows above it (``V01``). Its variance is ``S10 / m + S01 / n``, with the sample (co)variances S of the
placements of m positive and n negative rows: DeLong, DeLong & Clarke-Pearson, *Comparing the Areas under Two or More Correlated Receiver
Operating Characteristic Curves*, Biometrics 1988, eqs. 4-7. Sun & Xu, *Fast Implementation of DeLong's Algorithm*, IEEE Signal Processing
Letters 2014, find the placements from midranks in O((m + n) log(m + n)); here they are counted along one sort, which gives the same
numbers. The variance of a difference is that of the placements' differences, which is the same as V_aa + V_bb - 2 V_ab and exactly 0 where
both scores order the rows alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torch_rechub.basic.metric.pairs import check_rows

__all__ = ["DeLongResult", "delong_test", "delong_variance"]


class DeLongResult(NamedTuple):
    """Two AUCs on the same rows, and how surely they differ."""

    auc_a: float
    auc_b: float
    difference: float  # auc_a - auc_b
    z: float  # the difference in standard errors
    p_value: float  # two-sided


def delong_variance(y: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """The AUC and the variance of its estimate.

    Args:
        y: labels, 0 and 1.
        p: scores; any that are NaN make both results NaN.

    Shape:
        ``(N,)`` each.

    Returns:
        ``(auc, variance)``: both NaN without rows of both classes, the variance alone with a single row of one class.

    Raises:
        ValueError: when a label is neither 0 nor 1, or the lengths differ.

    Example:
        >>> auc, variance = delong_variance(np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.3, 0.5, 0.1]))
        >>> round(auc, 4), round(variance, 4)  # placements 1, 1, 1/2 and 2/3, 1
        (0.8333, 0.0556)
    """
    ups, downs = _placements(y, p)
    return _area(ups, downs), _variance(ups, downs, len(ups), len(downs))


def delong_test(y: np.ndarray, p_a: np.ndarray, p_b: np.ndarray) -> DeLongResult:
    """The paired test that two scores of the same rows have the same AUC; rows are taken to be independent of each other.

    ``z = (A_a - A_b) / sqrt(V_aa + V_bb - 2 V_ab)`` is compared with the normal distribution. Scores that order the rows alike give
    difference 0 and p-value 1. A difference whose estimated variance is 0 (both perfect orders of a few rows, say) has an infinite z.

    Args:
        y: labels, 0 and 1.
        p_a: the one model's scores.
        p_b: the other's.

    Shape:
        ``(N,)`` each.

    Returns:
        The areas, their difference, z and the two-sided p-value; z and p-value are NaN where the variances are.

    Raises:
        ValueError: as :func:`delong_variance`.

    Example:
        >>> y = np.array([1, 1, 1, 1, 0, 0, 0, 0])
        >>> good, poor = np.array([8, 7, 6, 3, 5, 4, 2, 1]), np.array([8, 3, 6, 2, 5, 7, 4, 1])
        >>> result = delong_test(y, good, poor)
        >>> result.difference, round(result.p_value, 3)
        (0.3125, 0.114)
    """
    (ups_a, downs_a), (ups_b, downs_b) = _placements(y, p_a), _placements(y, p_b)
    variance = _variance(ups_a - ups_b, downs_a - downs_b, len(ups_a), len(downs_a))
    return compared(_area(ups_a, downs_a), _area(ups_b, downs_b), variance)


def compared(auc_a: float, auc_b: float, variance: float) -> DeLongResult:
    """The result of a normal test, given the variance of the difference; equal areas of no variance differ in nothing."""
    difference = auc_a - auc_b
    sure = math.copysign(math.inf, difference) if difference else 0.0
    z = difference / math.sqrt(variance) if variance != 0 else sure
    return DeLongResult(auc_a, auc_b, difference, z, math.erfc(abs(z) / math.sqrt(2)))


def _area(ups: np.ndarray, downs: np.ndarray) -> float:
    """From integer counts, so that an area is one rounded division, as in :mod:`torch_rechub.basic.metric.pairs`."""
    if not len(ups) or not len(downs) or np.isnan(ups[0]):
        return math.nan
    return int(ups.sum()) / (2 * len(ups) * len(downs))


def _variance(ups: np.ndarray, downs: np.ndarray, n_up: int, n_down: int) -> float:
    """``S10 / m + S01 / n`` of counts that are twice n and twice m times the placements."""
    if n_up < 2 or n_down < 2:
        return math.nan
    return float(ups.var(ddof=1) / (4 * n_down**2 * n_up) + downs.var(ddof=1) / (4 * n_up**2 * n_down))


def _placements(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twice n times V10 of the positive rows ``(m,)`` and twice m times V01 of the negative ones ``(n,)``: integers, or NaN."""
    y, p = np.asarray(y), np.asarray(p)
    check_rows("DeLong", y, p, None)
    positive = y.astype(bool)
    if not len(p) or np.isnan(p).any():
        counts = np.full(len(p), np.nan)
        return counts[positive], counts[~positive]
    order = np.argsort(p)
    scores, up = p[order], positive[order].astype(np.int64)
    starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))  # of runs of equal scores
    ups, downs = np.add.reduceat(up, starts), np.add.reduceat(1 - up, starts)
    below, above = 2 * np.cumsum(downs) - downs, 2 * (ups.sum() - np.cumsum(ups)) + ups
    lengths = np.diff(starts, append=len(p))
    counts = np.empty(len(p), np.int64)
    counts[order] = np.where(up == 1, np.repeat(below, lengths), np.repeat(above, lengths))
    return counts[positive], counts[~positive]
