"""The plain functions under the names of the existing package: of arrays, of recommended lists, and beyond accuracy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from torch_rechub.basic import metric as package
from torch_rechub.basic.metric import (
    auc_score,
    coverage_score,
    diversity_score,
    gauc_score,
    get_user_pred,
    log_loss,
    novelty_score,
    topk_metrics,
)

LABELS, SCORES = [1, 0, 1, 0, 1], [0.9, 0.1, 0.4, 0.4, 0.2]
RECOMMENDED = {"0": [0, 1], "1": [0, 1], "2": [2, 3]}
RELEVANT = {"0": [1, 2], "1": [0, 1, 2], "2": [2, 3]}


@pytest.mark.parametrize("shape", [list, np.array, torch.tensor, lambda values: np.array(values)[:, None]])
def test_scores_take_lists_arrays_tensors_and_columns(shape):
    """Lists, arrays, tensors and columns of one value per row are accepted, and the results are those of scikit-learn."""
    assert auc_score(shape(LABELS), shape(SCORES)) == pytest.approx(sk.roc_auc_score(LABELS, SCORES), abs=1e-15)
    expected = sk.log_loss(LABELS, SCORES)
    assert log_loss(shape(LABELS), shape(SCORES)) == pytest.approx(expected, rel=1e-6)


def test_scores_of_one_class_or_nan_are_nan_and_logged(caplog):
    """Labels of one class or a NaN score give NaN and a logged warning, and no exception."""
    values = [auc_score([1, 1], [0.1, 0.2]), auc_score([1, 0], [math.nan, 0.2]), auc_score([], []), gauc_score([], [], [])]
    values += [gauc_score([1, 0], [0.1, 0.2], [1, 2]), gauc_score([1, 0], [math.nan, 0.2], [1, 1])]
    assert all(map(math.isnan, values))
    assert len(caplog.records) == len(values)


def test_scores_refuse_columns_that_do_not_match():
    """Different lengths and matrices are errors."""
    for wrong in (
        lambda: auc_score([1, 0], [0.5]),
        lambda: gauc_score([1, 0], [0.5, 0.1], [1]),
        lambda: get_user_pred([1], [0.5, 0.1], [1]),
    ):
        with pytest.raises(ValueError, match="got"):
            wrong()
    with pytest.raises(ValueError, match=r"got \(2, 2\)"):
        auc_score(np.zeros((2, 2)), [0.1, 0.2])


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from("abc")), min_size=1, max_size=30), st.booleans()
)
def test_gauc_score_is_the_weighted_mean_over_users(rows, weighted):
    """Users with both classes are weighted by their rows, or by the given weights; the others are left out."""
    y, s, users = zip(*rows, strict=True)
    weights = {"a": 1.0, "b": 2.5, "c": 0.5} if weighted else None
    total = size = 0.0
    for user in set(users):
        rows_of_user = [(label, score) for label, score, other in rows if other == user]
        if {label for label, _ in rows_of_user} == {0, 1}:
            n = weights[user] if weights else len(rows_of_user)
            total, size = total + n * sk.roc_auc_score(*zip(*rows_of_user, strict=True)), size + n
    assert gauc_score(y, s, users, weights) == pytest.approx(total / size if size else math.nan, nan_ok=True)


def test_gauc_score_names_users_without_weight():
    """A user without a weight is an error that names the user."""
    with pytest.raises(ValueError, match="bob"):
        gauc_score([1, 0], [0.5, 0.1], ["ann", "bob"], weights={"ann": 1})


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1), st.sampled_from(["b", "a", "c"])), max_size=30))
def test_get_user_pred_keeps_users_and_rows_in_order(rows):
    """Users, and the rows of each user, are in order of first appearance."""
    expected = {}
    for label, score, user in rows:
        columns = expected.setdefault(user, {"y_true": [], "y_pred": []})
        columns["y_true"].append(label)
        columns["y_pred"].append(score)
    got = get_user_pred([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    assert got == expected
    assert list(got) == list(expected)


def test_topk_of_a_small_case_counted_by_hand():
    """Three users, seven relevant items, five hits in six positions: every value was computed by hand."""
    second = 1 / math.log2(3)
    got = topk_metrics(RELEVANT, RECOMMENDED, topKs=(1, 2))
    assert got == {
        "NDCG": ["NDCG@1: 0.6667", f"NDCG@2: {round((second / (1 + second) + 1 + 1) / 3, 4)}"],
        "MRR": ["MRR@1: 0.6667", "MRR@2: 0.8333"],
        "Recall": ["Recall@1: 0.2778", "Recall@2: 0.7222"],
        "Hit": ["Hit@1: 0.2857", "Hit@2: 0.7143"],
        "Precision": ["Precision@1: 0.6667", "Precision@2: 0.8333"],
    }


@pytest.mark.parametrize("name", ["ndcg", "mrr", "recall", "hit", "precision"])
def test_topk_scores_are_the_lines_of_topk_metrics(name):
    """Each single function returns one entry of topk_metrics, and K is 5 by default."""
    score = getattr(package, f"{name}_score")
    key = {"ndcg": "NDCG", "mrr": "MRR"}.get(name, name.capitalize())
    assert score(RELEVANT, RECOMMENDED, topKs=[2]) == topk_metrics(RELEVANT, RECOMMENDED, topKs=[2])[key]
    assert score(RELEVANT, RECOMMENDED) == topk_metrics(RELEVANT, RECOMMENDED, topKs=[5])[key]


def test_topk_of_a_perfect_list_is_one():
    """If the list holds exactly the relevant items, all five metrics are 1."""
    assert topk_metrics({1: [3, 4]}, {1: [4, 3]}, [2]) == {
        name: [f"{name}@2: 1.0"] for name in ("NDCG", "MRR", "Recall", "Hit", "Precision")
    }


def test_topk_counts_a_repeated_item_once():
    """A repeated recommended item is one hit, and a repeated relevant item is one item."""
    got = topk_metrics({1: [3, 3]}, {1: [3, 3]}, [2])
    assert got == {
        "NDCG": ["NDCG@2: 1.0"],
        "MRR": ["MRR@2: 1.0"],
        "Recall": ["Recall@2: 1.0"],
        "Hit": ["Hit@2: 1.0"],
        "Precision": ["Precision@2: 0.5"],
    }


def test_topk_takes_short_and_empty_lists_arrays_and_tensors():
    """Lists may be shorter than K; users without relevant items count as 0; arrays and tensors are accepted as lists."""
    got = topk_metrics({1: torch.tensor([3]), 2: []}, {1: np.array([3]), 2: [5, 6]}, [2])
    assert got["Precision"] == ["Precision@2: 0.25"]
    assert (got["Recall"], got["NDCG"], got["MRR"], got["Hit"]) == (["Recall@2: 0.5"], ["NDCG@2: 0.5"], ["MRR@2: 0.5"], ["Hit@2: 1.0"])
    assert topk_metrics({1: []}, {1: []}, [1])["Hit"] == ["Hit@1: 0.0"]


@pytest.mark.parametrize("ks", [5, [], [0], [1.5], "5", [-1]])
def test_topk_refuses_invalid_lengths(ks):
    """topKs must be a list or tuple of integers >= 1."""
    for wrong in (
        lambda: topk_metrics(RELEVANT, RECOMMENDED, ks),
        lambda: coverage_score(RECOMMENDED, [1], ks),
        lambda: novelty_score(RECOMMENDED, {}, ks),
    ):
        with pytest.raises(ValueError, match="topKs must be"):
            wrong()


def test_topk_refuses_users_that_do_not_match():
    """A user in only one of the two arguments is an error that names the user."""
    with pytest.raises(ValueError, match="'bob'"):
        topk_metrics({"ann": [1], "bob": [1]}, {"ann": [1], "cid": [1]})
    with pytest.raises(ValueError, match="at least one"):
        topk_metrics({}, {})


def test_diversity_is_the_mean_distance_of_pairs():
    """Diversity equals a double loop over pairs, with the vectors in a dict and in a matrix."""
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    lists = {"a": [0, 1, 2, 5], "b": [4, 3], "c": [1]}
    per_user = []
    for items in list(lists.values())[:2]:
        pairs = [(i, j) for position, i in enumerate(items) for j in items[position + 1 :]]
        per_user.append(np.mean([1 - vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j]) for i, j in pairs]))
    expected = {"Diversity": [f"Diversity@4: {round(float(np.mean(per_user)), 4)}"]}
    assert diversity_score(lists, vectors, topKs=[4]) == diversity_score(lists, dict(enumerate(vectors)), topKs=[4]) == expected


def test_diversity_ignores_items_without_vector():
    """Items without a vector and lists that are too short are left out; without any list the score is 0."""
    vectors = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [0.0, 0.0]}
    assert diversity_score({1: [0, 9, 1], 2: [9], 3: [0, 2]}, vectors, [3]) == {"Diversity": ["Diversity@3: 1.0"]}
    assert diversity_score({1: [0, 9, 1, -1]}, np.eye(2), [4]) == {"Diversity": ["Diversity@4: 1.0"]}
    assert diversity_score({1: [0, 1]}, vectors, [1]) == diversity_score({}, vectors, [1]) == {"Diversity": ["Diversity@1: 0.0"]}


def test_coverage_counts_items_of_the_catalogue_once():
    """Repeated items count once, and items outside the catalogue do not count."""
    assert coverage_score(RECOMMENDED, {0, 1, 2, 3, 4, 5}, [1, 2]) == {"Coverage": ["Coverage@1: 0.3333", "Coverage@2: 0.6667"]}
    assert coverage_score({1: [7, 8, 0]}, [0, 0, 1, 1], [3]) == {"Coverage": ["Coverage@3: 0.5"]}
    with pytest.raises(ValueError, match="at least one item"):
        coverage_score(RECOMMENDED, [])


def test_novelty_is_the_mean_surprise_in_bits():
    """A share of 1/2 is one bit, 1/4 is two bits; an item without interactions has a share of 1e-10."""
    assert novelty_score({1: [0, 1], 2: [1], 3: []}, {0: 0.5, 1: 0.25}, [1, 2]) == {"Novelty": ["Novelty@1: 1.5", "Novelty@2: 1.75"]}
    assert novelty_score({1: [9]}, {}, [1]) == {"Novelty": [f"Novelty@1: {round(-math.log2(1e-10), 4)}"]}
    assert novelty_score({}, {}, [1]) == {"Novelty": ["Novelty@1: 0.0"]}


def test_all_public_names_can_be_imported():
    """Every name in __all__ exists, and the names of the existing package are among them."""
    assert all(hasattr(package, name) for name in package.__all__)
    old = "auc_score get_user_pred gauc_score ndcg_score hit_score mrr_score recall_score precision_score topk_metrics log_loss"
    assert set(f"{old} diversity_score coverage_score novelty_score".split()) <= set(package.__all__)
