"""DeLong's test against its definition: placements counted pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic.metric import auc_score, delong_test, delong_variance, grouped_bootstrap_test

SCORES = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.75, 1.0, -0.0, -3.0, 1e300, math.inf, -math.inf])
ROWS = st.lists(st.tuples(st.booleans(), SCORES, SCORES), min_size=1, max_size=25)


def columns(rows):
    y, a, b = zip(*rows, strict=True)
    return np.array(y, float), np.array(a), np.array(b)


def wins(positive, negative):
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def placements(y, p):
    """V10 of each positive and V01 of each negative row, by the definition."""
    positives, negatives = p[y == 1], p[y == 0]
    v10 = [sum(wins(a, b) for b in negatives) / len(negatives) for a in positives]
    v01 = [sum(wins(a, b) for a in positives) / len(positives) for b in negatives]
    return v10, v01


def cov(a, b):
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    return sum((x - mean_a) * (z - mean_b) for x, z in zip(a, b, strict=True)) / (n - 1)


def by_definition(y, a, b):
    """The areas, and the 2 x 2 covariance matrix of DeLong et al., 1988."""
    (a10, a01), (b10, b01) = placements(y, a), placements(y, b)
    s = [[cov(p, q) / len(a10) + cov(r, t) / len(a01) for q, t in ((a10, a01), (b10, b01))] for p, r in ((a10, a01), (b10, b01))]
    return sum(a10) / len(a10), sum(b10) / len(b10), s


@given(ROWS)
def test_delong_agrees_with_the_definition_by_pairs(rows):
    """Areas, variances, z and p-value equal those from placements counted pair by pair, also with ties, infinities and few rows."""
    y, a, b = columns(rows)
    if min(y.sum(), (1 - y).sum()) < 2:
        return
    auc_a, auc_b, s = by_definition(y, a, b)
    assert delong_variance(y, a) == pytest.approx((auc_a, s[0][0]))
    result = delong_test(y, a, b)
    assert result[:3] == pytest.approx((auc_a, auc_b, auc_a - auc_b))
    variance = s[0][0] + s[1][1] - 2 * s[0][1]
    if variance > 1e-12:
        z = (auc_a - auc_b) / math.sqrt(variance)
        assert result.z == pytest.approx(z, abs=1e-9)
        assert result.p_value == pytest.approx(1 - math.erf(abs(z) / math.sqrt(2)), abs=1e-9)
    else:
        assert result.z == (0.0 if auc_a == auc_b else math.copysign(math.inf, auc_a - auc_b))


@given(ROWS)
def test_delong_areas_equal_the_auc_and_the_test_is_antisymmetric(rows):
    """The area equals the AUC metric bit for bit; exchanged scores give the opposite difference and the same p-value."""
    y, a, b = columns(rows)
    result, exchanged = delong_test(y, a, b), delong_test(y, b, a)
    if 0 < y.sum() < len(y):
        assert (result.auc_a, result.auc_b) == (auc_score(y, a), auc_score(y, b))
    assert [repr(value) for value in (result.auc_a, result.p_value)] == [repr(value) for value in (exchanged.auc_b, exchanged.p_value)]
    assert result.difference == -exchanged.difference or math.isnan(result.difference)


@given(ROWS)
def test_delong_of_scores_with_the_same_order_is_zero(rows):
    """Scores compared with themselves or with a linear function of themselves have difference 0, p-value 1 and no warning."""
    y, a, _ = columns(rows)
    if min(y.sum(), (1 - y).sum()) < 2:
        return
    finite = np.clip(a, -4.0, 4.0)
    for same in (finite, 2 * finite + 1):
        assert delong_test(y, finite, same)[2:] == (0.0, 0.0, 1.0)


def test_delong_of_a_small_case():
    """Three positives and two negatives, computed by hand: placements 1, 1, 1/2 and 2/3, 1; S10 = 1/12, S01 = 1/18."""
    auc, variance = delong_variance(np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.3, 0.5, 0.1]))
    assert auc == 5 / 6
    assert variance == pytest.approx(1 / 12 / 3 + 1 / 18 / 2)


@pytest.mark.parametrize("y", [[], [1, 1, 1], [0, 0, 0]])
def test_delong_of_one_class_is_nan(y):
    """Without rows of both classes all results are NaN, and there is no exception."""
    y, p, q = np.array(y, float), np.arange(len(y)) / 4, np.arange(len(y)) / 5
    assert all(map(math.isnan, delong_variance(y, p)))
    assert all(map(math.isnan, delong_test(y, p, q)))
    assert all(map(math.isnan, grouped_bootstrap_test(y, p, q, np.arange(len(y)))))


def test_delong_of_a_single_positive_has_an_area_and_no_variance():
    """With one row of a class the area is defined and the variance is NaN. With a NaN score all results are NaN."""
    y, p = np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1])
    auc, variance = delong_variance(y, p)
    assert auc == 0.75
    assert math.isnan(variance)
    assert math.isnan(delong_test(y, p, -p).p_value)
    assert all(map(math.isnan, delong_test(y, p, np.array([0.1, math.nan, 0.2]))[1:]))


def test_delong_refuses_invalid_labels():
    """Labels must be 0 or 1, and as many as the scores."""
    with pytest.raises(ValueError, match="only 0 and 1"):
        delong_test(np.array([0, 2]), np.array([0.1, 0.2]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="same number of rows"):
        delong_test(np.array([0, 1]), np.array([0.1, 0.2]), np.array([0.1]))


def test_delong_has_the_nominal_level():
    """For scores of equal quality the test at 5 % rejects in about 5 % of 2000 samples (within 4 standard errors)."""
    random = np.random.default_rng(0)
    n_rejected = 0
    for _ in range(2000):
        y = random.integers(0, 2, 120)
        a, b = y + random.normal(0, 1.5, (2, 120))
        n_rejected += delong_test(y, a, b).p_value < 0.05
    assert abs(n_rejected / 2000 - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 2000)


def test_grouped_bootstrap_agrees_with_a_loop():
    """A loop that copies the rows of the drawn groups and computes both areas gives the same z from the same draws."""
    random = np.random.default_rng(1)
    y, groups = random.integers(0, 2, 60), random.integers(10, 17, 60)
    a, b = (y + random.normal(0, 1, (2, 60))).round(1)
    names = np.unique(groups)
    draws, differences = np.random.default_rng(5), []
    for _ in range(50):
        times = draws.multinomial(len(names), np.full(len(names), 1 / len(names)))
        rows = np.concatenate([np.flatnonzero(groups == name) for name, n in zip(names, times, strict=True) for _ in range(n)])
        differences.append(auc_score(y[rows], a[rows]) - auc_score(y[rows], b[rows]))
    result = grouped_bootstrap_test(y, a, b, groups, n_resample=50, seed=5)
    assert result.difference == auc_score(y, a) - auc_score(y, b)
    assert result.z == pytest.approx(result.difference / np.std(differences, ddof=1))
    assert result == grouped_bootstrap_test(y, a, b, groups, n_resample=50, seed=5)


def test_grouped_bootstrap_of_single_rows_agrees_with_delong():
    """With one row per group the result is close to DeLong's; copies of the rows within a group do not change it."""
    random = np.random.default_rng(2)
    y = random.integers(0, 2, 300)
    a, b = y + random.normal(0, 1, (2, 300))
    alone = delong_test(y, a, b)
    single = grouped_bootstrap_test(y, a, b, np.arange(300))
    assert single.z == pytest.approx(alone.z, rel=0.1)
    copies, users = [np.repeat(column, 9) for column in (y, a, b)], np.repeat(np.arange(300), 9)
    assert grouped_bootstrap_test(*copies, users).z == pytest.approx(single.z, rel=1e-9)
    assert delong_test(*copies).z == pytest.approx(3 * alone.z, rel=0.02)


def test_grouped_bootstrap_edge_cases():
    """One group gives NaN; equal scores have p-value 1; too few resamples are refused; resamples of one class are left out."""
    y, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2])
    assert math.isnan(grouped_bootstrap_test(y, p, -p, np.zeros(4)).p_value)
    assert grouped_bootstrap_test(y, p, p, np.arange(4)).p_value == 1.0
    assert 0 <= grouped_bootstrap_test(y, p, p[::-1], np.arange(4)).p_value <= 1
    with pytest.raises(ValueError, match="n_resample must be >= 2"):
        grouped_bootstrap_test(y, p, p, np.arange(4), n_resample=1)
