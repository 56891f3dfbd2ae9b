"""Generated clicks: the same seed gives the same bits, and rows and labels follow the stated distribution."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.datasets import Clicks, make_clicks
from torch_rechub.datasets.click_world import LogitSum, World

SMALL = {"n_dense": 2, "n_sparse": 3, "vocab_size": 300}


def same_bits(one, other):
    columns = list(one.x) == list(other.x) and all(np.array_equal(one.x[name], other.x[name]) for name in one.x)
    return columns and np.array_equal(one.y, other.y) and np.array_equal(one.probability, other.probability)


def first_rows(clicks, n):
    return Clicks({name: values[:n] for name, values in clicks.x.items()}, clicks.y[:n], clicks.probability[:n], clicks.vocab_sizes)


@pytest.fixture(scope="module")
def clicks():
    return make_clicks(20_000, **SMALL, seed=7)


def test_clicks_same_seed_gives_the_same_bits(clicks):
    """Equal arguments give equal bits; another seed or another sample_seed changes every column."""
    assert same_bits(clicks, make_clicks(20_000, **SMALL, seed=7))
    for other in (make_clicks(20_000, **SMALL, seed=8), make_clicks(20_000, **SMALL, seed=7, sample_seed=1)):
        assert not any(np.array_equal(clicks.x[name], other.x[name]) for name in clicks.x)
        assert not np.array_equal(clicks.y, other.y)


def test_clicks_of_more_rows_begin_with_the_same_rows(clicks):
    """n_row does not change the first rows, also across chunk boundaries."""
    assert same_bits(first_rows(make_clicks(70_000, **SMALL, seed=7), 20_000), clicks)


def test_clicks_of_one_seed_have_the_same_distribution():
    """Equal rows have equal probabilities for every sample_seed, and different ones for another seed."""
    kwargs = {"n_dense": 0, "n_sparse": 2, "vocab_size": 20}

    def probabilities(**seeds):
        clicks = make_clicks(5_000, **kwargs, **seeds)
        pairs = zip(clicks.x["sparse_0"].tolist(), clicks.x["sparse_1"].tolist(), strict=True)
        return dict(zip(pairs, clicks.probability.tolist(), strict=True))

    one, same, other = probabilities(seed=1), probabilities(seed=1, sample_seed=5), probabilities(seed=2)
    assert len(one.keys() & same.keys()) > 50
    assert all(one[pair] == same[pair] for pair in one.keys() & same.keys())
    assert not any(one[pair] == other[pair] for pair in one.keys() & other.keys())


def test_clicks_logit_is_a_factorization_machine():
    """The logit agrees with a double loop over pairs of columns, dense and sparse."""
    rng = np.random.default_rng(0)
    parameters = [rng.normal(size=(4, 1 + 3)) for _ in range(3)]
    ids = rng.integers(0, 4, size=(3, 50))
    scale = [rng.normal(size=50), np.ones(50), np.ones(50)]
    logit = LogitSum(50, 3)
    for column in range(3):
        logit.add(parameters[column], ids[column], scale=scale[column] if column == 0 else None)
    for row in range(50):
        active = [parameters[column][ids[column][row]] * scale[column][row] for column in range(3)]
        naive = sum(one[0] for one in active) + sum(one[1:] @ other[1:] for one, other in combinations(active, 2))
        assert logit.total()[row] == pytest.approx(naive, abs=1e-5)


def test_clicks_logit_terms_have_the_given_deviations():
    """Over seeds, the linear and the pairwise term have the given standard deviations; 0 leaves a term out."""

    def deviation(linear, pairs):
        logit = LogitSum(500, 8)
        for column in range(6):
            parameters = [World(seed, 0, 6, 8, 1.0, linear, pairs).parameters(column, 1) for seed in range(500)]
            logit.add(np.concatenate(parameters), np.arange(500))
        return logit.total().std()

    assert deviation(1.5, 0.0) == pytest.approx(1.5, rel=0.1)
    assert deviation(0.0, 0.7) == pytest.approx(0.7, rel=0.15)
    assert deviation(0.0, 0.0) == 0


def test_clicks_best_auc_is_that_of_the_true_probabilities(clicks):
    """best_auc agrees with scikit-learn on the probabilities, also with ties, and is computed for each subset."""
    tied = make_clicks(2_000, n_dense=0, n_sparse=2, vocab_size=8)
    for generated in (clicks, tied, *clicks.split()):
        assert generated.best_auc == pytest.approx(roc_auc_score(generated.y, generated.probability), abs=1e-12)
    assert len({generated.best_auc for generated in clicks.split()}) == 3


def test_clicks_expected_best_auc_counts_all_pairs():
    """The expectation agrees with a double loop over pairs of different rows, and with the mean over many random labels."""
    generated = make_clicks(60, n_dense=1, n_sparse=1, vocab_size=3)
    p = np.append(generated.probability, generated.probability[:5]).astype(np.float64)
    generated = Clicks(generated.x, generated.y, p, generated.vocab_sizes)
    pairs = [(p[i] * (1 - p[j]), (p[i] > p[j]) + (p[i] == p[j]) / 2) for i in range(65) for j in range(65) if i != j]
    expected = sum(weight * correct for weight, correct in pairs) / sum(weight for weight, _ in pairs)
    assert generated.expected_best_auc == pytest.approx(expected, abs=1e-12)
    rng = np.random.default_rng(0)
    drawn = [Clicks({}, (rng.random(65) < p).astype(np.float32), p, {}).best_auc for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(expected, abs=0.01)


def test_clicks_one_class_has_no_best_auc():
    """With equal labels, or with a single row, there is no pair: the AUC is NaN, without an exception."""
    one_class = Clicks({}, np.zeros(3, np.float32), np.ones(3, np.float32) / 2, {})
    assert np.isnan(one_class.best_auc)
    assert one_class.expected_best_auc == 0.5
    assert np.isnan(make_clicks(1, **SMALL).expected_best_auc)


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.9])
def test_clicks_positive_rate_is_met(rate):
    """The mean probability and the share of positive labels are close to positive_rate."""
    generated = make_clicks(50_000, **SMALL, positive_rate=rate)
    deviation = np.sqrt(rate * (1 - rate) / 50_000)
    assert generated.probability.mean(dtype=np.float64) == pytest.approx(rate, abs=5 * deviation)
    assert generated.y.mean() == pytest.approx(generated.probability.mean(dtype=np.float64), abs=4 * deviation)


@pytest.mark.parametrize("zipf", [0.0, 1.1, 2.0])
def test_clicks_popularity_follows_zipf(zipf):
    """The most popular ids have the shares of a truncated Zipf distribution, and popularity does not depend on the order of ids."""
    ids = make_clicks(100_000, n_dense=0, n_sparse=1, vocab_size=1_000, zipf=zipf).x["sparse_0"]
    counts = np.bincount(ids, minlength=1_000)
    expected = np.arange(1, 1_001) ** -zipf / (np.arange(1, 1_001) ** -zipf).sum()
    for rank in (0, 1, 2) if zipf else ():
        assert np.sort(counts)[::-1][rank] / 100_000 == pytest.approx(expected[rank], rel=0.05)
    assert counts.max() / 100_000 < expected[0] * 1.5
    assert abs(np.corrcoef(np.arange(1_000), np.argsort(np.argsort(counts)))[0, 1]) < 0.15


def test_clicks_vocabulary_is_divided():
    """A total is divided evenly, the first columns get the remainder; a list is used as given; ids are below the vocabulary size."""
    assert list(make_clicks(1, 0, 3, 11).vocab_sizes.values()) == [4, 4, 3]
    generated = make_clicks(5_000, 1, 3, [1, 5, 70], zipf=0)
    assert list(generated.vocab_sizes.values()) == [1, 5, 70]
    assert [set(generated.x[name].tolist()) for name in generated.vocab_sizes] == [set(range(size)) for size in (1, 5, 70)]
    assert generated.feature_columns(4) == (
        [DenseFeature("dense_0")],
        [SparseFeature(f"sparse_{i}", n, 4) for i, n in enumerate((1, 5, 70))],
    )


def test_clicks_columns_are_ready_to_train_on(clicks):
    """Ids are int32; numbers, labels and probabilities are float32; labels are 0 or 1."""
    assert {name: values.dtype.name for name, values in clicks.x.items()} == {
        "dense_0": "float32", "dense_1": "float32", "sparse_0": "int32", "sparse_1": "int32", "sparse_2": "int32",
    }  # fmt: skip
    assert clicks.y.dtype == clicks.probability.dtype == np.float32
    assert set(clicks.y.tolist()) == {0.0, 1.0}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(200, 400))
def test_clicks_splits_are_disjoint_and_complete(shares, n_row):
    """The concatenated subsets are all rows, and each has its share of rows."""
    rows = np.arange(n_row)
    clicks = Clicks({"row": rows}, rows.astype(np.float32), rows.astype(np.float32), {})
    ratios = [share / sum(shares) for share in shares]
    subsets = clicks.split(ratios)
    assert np.array_equal(np.concatenate([subset.x["row"] for subset in subsets]), rows)
    assert all(np.array_equal(subset.y, subset.x["row"]) and np.array_equal(subset.probability, subset.y) for subset in subsets)
    assert all(abs(len(subset.y) - ratio * n_row) <= 1 for subset, ratio in zip(subsets, ratios, strict=True))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_row": 0}, "n_row must be >= 1; got 0"),
        ({"vocab_size": 2}, "must be >= n_sparse=3; got 2"),
        ({"vocab_size": [5, 5]}, "needs n_sparse=3 numbers"),
        ({"vocab_size": [5, 0, 5]}, "numbers >= 1"),
        ({"positive_rate": 0.0}, "between 0 and 1"),
        ({"positive_rate": 1.0}, "between 0 and 1"),
        ({"positive_rate": float("nan")}, "between 0 and 1"),
        ({"zipf": -1.0}, "zipf must be >= 0"),
        ({"pairwise_std": float("nan")}, "pairwise_std must be >= 0"),
        ({"n_factor": 0}, "n_factor must be >= 1"),
        ({"n_dense": 0, "n_sparse": 0}, "columns must be >= 1"),
        ({"sample_seed": -1}, "sample_seed must be >= 0"),
    ],
)
def test_clicks_wrong_arguments_are_named(wrong, message):
    """An argument out of its range is an error that names the argument and its value."""
    with pytest.raises(ValueError, match=message):
        make_clicks(**({"n_row": 10, **SMALL} | wrong))


@pytest.mark.parametrize("ratios", [(0.5, 0.4), (1.0, 0.0), (1.5, -0.5), (), (0.99999, 0.00001)])
def test_clicks_wrong_ratios_are_refused(clicks, ratios):
    """Shares that are not positive, do not sum to 1 or leave a subset empty are an error."""
    with pytest.raises(ValueError, match=r"ratios must be positive|every subset needs a row"):
        clicks.split(ratios)
