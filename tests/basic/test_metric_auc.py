"""AUC and GAUC against a double loop over pairs."""

import logging
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from torch_rechub.basic.batch.packed import Layout, PackedFeatures
from torch_rechub.basic.metric import AUC, GAUC

# Few distinct scores, so that there are many ties; both zeros, both infinities, neighbouring float32 values.
SCORES = st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 1e-45, 0.25, 0.5, 0.50000006, 1.0, 3e38, math.inf])
WEIGHTS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 3.0])
ROWS = st.lists(st.tuples(st.integers(0, 1), SCORES, WEIGHTS, st.integers(-2, 3)), min_size=1, max_size=40)


def count_pairs(rows):
    """Exact AUC of (label, score, weight) rows by a double loop in fractions; None where there is no pair."""
    won, pairs = Fraction(0), Fraction(0)
    for y, s, w, *_ in rows:
        for other_y, other_s, other_w, *_ in rows:
            if y == 1 and other_y == 0:
                pair = Fraction(w) * Fraction(other_w)
                pairs += pair
                won += pair * (Fraction(1) if s > other_s else Fraction(1, 2) if s == other_s else 0)
    return won / pairs if pairs else None


def columns(rows, dtype=torch.float32):
    y, s, w, g = zip(*rows, strict=True)
    return torch.tensor(y), torch.tensor(s, dtype=dtype), torch.tensor(w), torch.tensor(g)


def area(y, s, w=None, dtype=torch.float32):
    metric = AUC()
    metric.update(torch.tensor(y), torch.tensor(s, dtype=dtype), None if w is None else torch.tensor(w))
    return metric.compute()


@given(ROWS, st.sampled_from([torch.float32, torch.float64]))
def test_auc_counts_pairs_exactly(rows, dtype):
    """Without weights, AUC is the correctly rounded share of pairs in order, ties counted half, infinities and both zeros included."""
    y, s, _, _ = columns(rows, dtype)
    metric = AUC()
    metric.update(y, s)
    expected = count_pairs([(y, np.float32(s) if dtype == torch.float32 else s, 1) for y, s, *_ in rows])
    assert math.isnan(metric.compute()) if expected is None else metric.compute() == float(expected)


@given(ROWS)
def test_auc_with_weights_counts_weighted_pairs(rows):
    """The weight of a pair is the product of its row weights; rows of weight 0 have no effect."""
    y, s, w, _ = columns(rows)
    metric = AUC()
    metric.update(y, s, w)
    expected = count_pairs([(y, np.float32(s), w) for y, s, w, _ in rows])
    assert math.isnan(metric.compute()) if expected is None else metric.compute() == pytest.approx(float(expected), abs=1e-14)


@given(ROWS, st.booleans())
def test_gauc_is_the_mean_of_the_groups_weighted_by_size(rows, weighted):
    """GAUC is the mean of the groups' pair counts weighted by their rows or weights, over the groups that have both classes."""
    y, s, w, g = columns(rows)
    metric = GAUC(group="user")
    metric.update(y, s, w if weighted else None, x={"user": g})
    total, size = Fraction(0), Fraction(0)
    for group in set(g.tolist()):
        members = [(y, np.float32(s), w if weighted else 1) for y, s, w, other in rows if other == group]
        auc = count_pairs(members)
        if auc is not None:
            n = sum(Fraction(w) for *_, w in members)
            total, size = total + n * auc, size + n
    assert math.isnan(metric.compute()) if not size else metric.compute() == pytest.approx(float(total / size), abs=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [2, 9])
def test_auc_agrees_with_scikit_learn_on_many_rows(dtype, decimals):
    """On twenty thousand rows, with and without ties and weights, AUC is scikit-learn's."""
    random = np.random.default_rng(3)
    y, w = random.integers(0, 2, 20_000), random.random(20_000)
    s = np.round(random.normal(size=20_000) + y * 0.5, decimals).astype(dtype)
    assert area(y, s, dtype=torch.from_numpy(s).dtype) == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert area(y, s, w, dtype=torch.from_numpy(s).dtype) == pytest.approx(roc_auc_score(y, s, sample_weight=w), abs=1e-12)


@given(ROWS, st.sampled_from([AUC, GAUC]), st.booleans(), st.data())
def test_auc_is_never_finite_with_a_nan_score(rows, kind, weighted, data):
    """One NaN score, at any position, makes the value NaN."""
    y, s, w, g = columns(rows)
    s[data.draw(st.integers(0, len(rows) - 1))] = math.nan
    metric = kind()
    metric.update(y, s, w if weighted else None, x={"user_id": g})
    assert math.isnan(metric.compute())


@pytest.mark.parametrize("kind", [AUC, GAUC])
@pytest.mark.parametrize("label", [0, 1])
def test_auc_of_one_class_is_nan_and_logged(kind, label, caplog):
    """Labels of one class give NaN and one logged warning that names the metric, and no exception."""
    metric = kind()
    metric.update(torch.full((3,), label), torch.rand(3), x={"user_id": torch.tensor([1, 1, 2])})
    with caplog.at_level(logging.WARNING):
        assert math.isnan(metric.compute())
    assert [record.message.split()[0] for record in caplog.records] == [metric.name]


def test_gauc_leaves_out_groups_of_one_class():
    """A user whose labels are all equal does not change the value."""
    both, more = GAUC(), GAUC()
    both.update(torch.tensor([1, 0]), torch.tensor([0.2, 0.9]), x={"user_id": torch.tensor([4, 4])})
    more.update(torch.tensor([1, 0, 1, 1, 0]), torch.tensor([0.2, 0.9, 0.3, 0.1, 0.7]), x={"user_id": torch.tensor([4, 4, 5, 5, 6])})
    assert both.compute() == more.compute() == 0.0


@pytest.mark.parametrize(
    ("y", "w", "wrong"),
    [
        ([1, 2], None, "2"),
        ([-1, 1], None, "-1"),
        ([0.5, 1], None, "0.5"),
        ([0.0, math.nan], None, "nan"),
        ([0, 1], [1.0, -1.0], "-1.0"),
        ([0, 1], [1.0, math.nan], "nan"),
        ([0, 1], [1.0, math.inf], "inf"),
    ],
)
def test_auc_refuses_invalid_labels_and_weights(y, w, wrong):
    """Labels other than 0 and 1, and weights that are negative or not finite, are errors that name the value."""
    with pytest.raises(ValueError, match=f"got {wrong}"):
        area(y, [0.1, 0.2], w)


def test_auc_keeps_the_precision_of_its_scores():
    """Scores that differ only in float64 are distinguished in float64; half precision is accepted."""
    assert area([1, 0], [0.5 + 1e-12, 0.5], dtype=torch.float64) == 1.0
    assert area([1, 0], [0.5 + 1e-12, 0.5], dtype=torch.float32) == 0.5
    assert area([1, 0], [0.75, 0.5], dtype=torch.bfloat16) == area([1, 0], [0.75, 0.5], dtype=torch.float16) == 1.0


def test_gauc_reads_packed_features():
    """The group column is read from a packed batch, also if it is not a feature of the model."""
    x = PackedFeatures(Layout(ids=("item", "user_id")), torch.tensor([[1, 7], [2, 7]]), torch.empty(2, 0))
    metric = GAUC()
    metric.update(torch.tensor([1, 0]), torch.tensor([0.9, 0.1]), x=x)
    assert metric.compute() == 1.0


@pytest.mark.parametrize("x", [None, {}, {"user_ids": torch.tensor([1, 1])}])
def test_gauc_names_a_missing_group_column(x):
    """A missing group column is a ValueError that names it and the closest existing column."""
    with pytest.raises(ValueError, match="'user_id'.*Did you mean 'user_ids'" if x else "'user_id'"):
        GAUC().update(torch.tensor([1, 0]), torch.tensor([0.9, 0.1]), x=x)
