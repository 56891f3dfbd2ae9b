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


def wins(up, down):
    return 1.0 if up > down else 0.5 if up == down else 0.0


def placements(y, p):
    """V10 of each positive and V01 of each negative row, by the definition."""
    ups, downs = p[y == 1], p[y == 0]
    v10 = [sum(wins(u, d) for d in downs) / len(downs) for u in ups]
    v01 = [sum(wins(u, d) for u in ups) / len(ups) for d in downs]
    return v10, v01


def cov(a, b):
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    return sum((x - mean_a) * (z - mean_b) for x, z in zip(a, b, strict=True)) / (n - 1)


def brute(y, a, b):
    """Areas, and the 2 x 2 covariance of Biometrics 1988."""
    (a10, a01), (b10, b01) = placements(y, a), placements(y, b)
    s = [[cov(p, q) / len(a10) + cov(r, t) / len(a01) for q, t in ((a10, a01), (b10, b01))] for p, r in ((a10, a01), (b10, b01))]
    return sum(a10) / len(a10), sum(b10) / len(b10), s


@given(ROWS)
def test_delong_agrees_with_the_definition_by_pairs(rows):
    """Areas, variances, z and p-value are those of placements counted pair by pair, with ties, infinities and few rows."""
    y, a, b = columns(rows)
    if min(y.sum(), (1 - y).sum()) < 2:
        return
    auc_a, auc_b, s = brute(y, a, b)
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
def test_delong_areas_are_those_of_the_auc_and_change_sign_together(rows):
    """The area is the metric's, bit for bit; a test the other way round has the opposite difference and the same p-value."""
    y, a, b = columns(rows)
    one, other = delong_test(y, a, b), delong_test(y, b, a)
    if 0 < y.sum() < len(y):
        assert (one.auc_a, one.auc_b) == (auc_score(y, a), auc_score(y, b))
    assert [repr(value) for value in (one.auc_a, one.p_value)] == [repr(value) for value in (other.auc_b, other.p_value)]
    assert one.difference == -other.difference or math.isnan(one.difference)


@given(ROWS)
def test_delong_finds_nothing_between_scores_of_one_order(rows):
    """Scores against themselves, or in another unit, differ by 0 with p-value 1 and no warning."""
    y, a, _ = columns(rows)
    if min(y.sum(), (1 - y).sum()) < 2:
        return
    finite = np.clip(a, -4.0, 4.0)
    for same in (finite, 2 * finite + 1):
        assert delong_test(y, finite, same)[2:] == (0.0, 0.0, 1.0)


def test_delong_by_hand():
    """Three positives and two negatives, on paper: placements 1, 1, 1/2 and 2/3, 1; S10 = 1/12, S01 = 1/18."""
    auc, variance = delong_variance(np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.3, 0.5, 0.1]))
    assert auc == 5 / 6
    assert variance == pytest.approx(1 / 12 / 3 + 1 / 18 / 2)


@pytest.mark.parametrize("y", [[], [1, 1, 1], [0, 0, 0]])
def test_delong_of_one_class_is_nan(y):
    """Without rows of both classes there is no area, no variance and no verdict, and no exception."""
    y, p, q = np.array(y, float), np.arange(len(y)) / 4, np.arange(len(y)) / 5
    assert all(map(math.isnan, delong_variance(y, p)))
    assert all(map(math.isnan, delong_test(y, p, q)))
    assert all(map(math.isnan, grouped_bootstrap_test(y, p, q, np.arange(len(y)))))


def test_delong_of_a_single_positive_has_an_area_and_no_variance():
    """One row of a class has no sample variance: the area is known, z and p-value are NaN. So is everything with a NaN score."""
    y, p = np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1])
    auc, variance = delong_variance(y, p)
    assert auc == 0.75
    assert math.isnan(variance)
    assert math.isnan(delong_test(y, p, -p).p_value)
    assert all(map(math.isnan, delong_test(y, p, np.array([0.1, math.nan, 0.2]))[1:]))


def test_delong_refuses_labels_that_are_no_labels():
    """Labels are 0 and 1, and as many as the scores."""
    with pytest.raises(ValueError, match="only 0 and 1"):
        delong_test(np.array([0, 2]), np.array([0.1, 0.2]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="as many rows"):
        delong_test(np.array([0, 1]), np.array([0.1, 0.2]), np.array([0.1]))


def test_delong_holds_its_level():
    """Between two scores of equal quality it finds a difference at 5 % in about 5 % of 2000 samples (4 standard errors)."""
    random = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        y = random.integers(0, 2, 120)
        a, b = y + random.normal(0, 1.5, (2, 120))
        found += delong_test(y, a, b).p_value < 0.05
    assert abs(found / 2000 - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 2000)


def test_grouped_bootstrap_is_the_naive_one():
    """Groups drawn with all their rows and both areas found anew by the metric: the same z from the same draws."""
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
    """With one row a group it estimates what DeLong estimates; with rows that repeat within a group it is not fooled by their number."""
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
    """One group says nothing; two equal scores have p-value 1; too few resamples are refused; resamples of one class are left out."""
    y, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.8, 0.2])
    assert math.isnan(grouped_bootstrap_test(y, p, -p, np.zeros(4)).p_value)
    assert grouped_bootstrap_test(y, p, p, np.arange(4)).p_value == 1.0
    assert 0 <= grouped_bootstrap_test(y, p, p[::-1], np.arange(4)).p_value <= 1
    with pytest.raises(ValueError, match="n_resample must be >= 2"):
        grouped_bootstrap_test(y, p, p, np.arange(4), n_resample=1)
