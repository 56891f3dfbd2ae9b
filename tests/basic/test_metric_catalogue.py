"""Metrics of ranked catalogues: their formulas, counted naively, and the laws of a monoid."""

import io
import itertools
import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic.metric import CatalogueMetric, get_catalogue_metric, topk_metrics
from torch_rechub.basic.metric.catalogue import RankedUsers, exact_sum

NAMES = ["recall@1", "recall@3", "ndcg@1", "ndcg@3", "hr@3", "hit@3", "mrr@3", "precision@3", "mrr"]
every_metric = pytest.mark.parametrize("name", NAMES)

#: Users as (places of the relevant items in a catalogue of 8), counted from 1.
some_users = st.lists(st.sets(st.integers(1, 8), min_size=1), min_size=1, max_size=12)


def ranked(users, k=5):
    hits = torch.tensor([[place in places for place in range(1, k + 1)] for places in users]).reshape(len(users), k)
    first = torch.tensor([min(places) for places in users], dtype=torch.int64)
    return RankedUsers(hits, torch.tensor([len(p) for p in users], dtype=torch.int64), first, torch.zeros(len(users), dtype=torch.bool))


def fed(name, users):
    metric = get_catalogue_metric(name)
    if users:
        metric.update(ranked(users))
    return metric


def naive(name, users):
    """Each definition, written out for one user after the other."""
    measure, _, k = name.partition("@")
    k = int(k or 10**9)
    values, n_relevant = [], 0
    for places in users:
        hits = sorted(place for place in places if place <= k)
        n_relevant += len(places)
        if measure == "recall":
            values.append(len(hits) / len(places))
        elif measure == "precision":
            values.append(len(hits) / k)
        elif measure == "hr":
            values.append(1 if hits else 0)
        elif measure == "hit":
            values.append(len(hits))
        elif measure == "mrr":
            values.append(1 / hits[0] if hits else 0)
        else:
            ideal = sum(1 / math.log2(j + 1) for j in range(1, min(len(places), k) + 1))
            values.append(sum(1 / math.log2(j + 1) for j in hits) / ideal)
    return sum(values) / (n_relevant if measure == "hit" else len(users))


def states_equal(a, b):
    return all(torch.equal(a.state_dict()[key], b.state_dict()[key]) for key in a.state_dict())


@every_metric
@given(users=some_users)
def test_catalogue_metric_is_its_formula(name, users):
    """Each metric is what its definition gives, user by user."""
    assert fed(name, users).compute() == pytest.approx(naive(name, users), rel=1e-14, abs=1e-300)


@given(users=some_users)
def test_catalogue_metrics_agree_with_topk_metrics(users):
    """The metrics of one name are those of topk_metrics on the same lists."""
    relevant = dict(enumerate(users))
    lines = topk_metrics(relevant, {user: list(range(1, 9)) for user in relevant}, topKs=[3])
    for measure, (line,) in lines.items():
        assert fed(f"{measure.lower()}@3", users).compute() == pytest.approx(float(line.split()[1]), abs=0.5001e-4)  # four digits


@every_metric
@given(users=some_users, cuts=st.lists(st.integers(0, 12), max_size=3), order=st.randoms())
def test_catalogue_metric_merges_exactly(name, users, cuts, order):
    """Users cut into any batches, in any order, merged in any grouping, give the same bits, in the value and in the state."""
    whole, shuffled = fed(name, users), order.sample(users, len(users))
    edges = [0, *sorted(min(cut, len(users)) for cut in cuts), len(users)]
    parts = [fed(name, shuffled[a:b]) for a, b in itertools.pairwise(edges)]
    total = whole.empty()
    for part in parts:
        total.merge(part)
    right = whole.empty()
    for part in reversed(parts):
        part.merge(right)
        right = part
    assert total.compute() == right.compute() == whole.compute()
    assert states_equal(total, whole)
    assert states_equal(right, whole)


def test_exact_sum_loses_nothing():
    """The parts of a sum add up to the exact sum, as fractions do, in whatever order the values come."""
    from fractions import Fraction

    values = [1 / place for place in range(1, 500)] + [2.0**40, 2.0**-70]
    parts = exact_sum(values)
    assert sum(map(Fraction, parts)) == sum(map(Fraction, values))
    assert parts == exact_sum(values[::-1]) == exact_sum([*exact_sum(values[:99]), *exact_sum(values[99:])])
    assert exact_sum([]) == []


@every_metric
def test_catalogue_metric_empty_is_the_identity(name):
    """An empty metric changes nothing when it is merged, from either side, and the merged metric is not changed."""
    part = fed(name, [{1, 4}, {7}, {2, 3}])
    before, total = part.compute(), part.empty()
    total.merge(part)
    total.merge(part.empty())
    assert states_equal(total, part)
    total.update(ranked([{8}]))
    assert part.compute() == before
    assert math.isnan(part.empty().compute())


@every_metric
def test_catalogue_metric_of_no_user_is_nan_and_logged(name, caplog):
    """Without a user there is no value: NaN and a logged warning that names the metric."""
    with caplog.at_level(logging.WARNING):
        assert math.isnan(fed(name, []).compute())
    assert name in caplog.text


@every_metric
def test_catalogue_metric_of_nan_scores_is_nan_and_logged(name, caplog):
    """One user with a NaN score makes the metric NaN, also after a merge and a reload, and the log counts such users."""
    metric = fed(name, [{1}, {2}])
    metric.update(ranked([{1}, {1}])._replace(is_nan=torch.tensor([False, True])))
    total, again = metric.empty(), metric.empty()
    total.merge(metric)
    again.load_state_dict(total.state_dict())
    with caplog.at_level(logging.WARNING):
        assert math.isnan(again.compute())
    assert f"{name} is not defined and becomes NaN: 1 users have NaN scores" in caplog.text


@every_metric
def test_catalogue_metric_state_goes_through_a_file(name):
    """The state is plain tensors that torch loads without unpickling code, and a fresh metric goes on from it."""
    metric, file = fed(name, [{1, 4}, {7}, {2, 3}]), io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    again = metric.empty()
    again.load_state_dict(torch.load(file, weights_only=True))
    for each in (metric, again):
        each.update(ranked([{5}, {1}]))
    assert states_equal(metric, again)


@every_metric
def test_catalogue_metric_can_be_monitored(name):
    """Larger is better, and the name is the one that was asked for, in lower case."""
    metric = get_catalogue_metric(name.upper())
    assert (metric.name, metric.higher_is_better) == (name, True)
    assert get_catalogue_metric(metric) is not metric


def test_catalogue_metric_instance_is_not_changed():
    """A metric that is given as an instance is copied empty."""
    metric = fed("hr@3", [{1}])
    assert math.isnan(get_catalogue_metric(metric).compute())
    assert metric.compute() == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("recal@20", "Did you mean 'recall@20'"),
        ("NDGC@7", "Did you mean 'ndcg@7'"),
        ("recall", "Did you mean 'recall@20'"),
        ("mrr@0", "Did you mean 'mrr@20'"),
        ("recall@-1", "Did you mean 'recall@20'"),
        ("hr@1.5", "Known names"),
        ("auc", "Known names"),
    ],
)
def test_catalogue_metric_unknown_name_is_refused(name, hint):
    """An unknown name is an error that names the closest one."""
    with pytest.raises(ValueError, match=f"'{name}'.*{hint}"):
        get_catalogue_metric(name)


def test_catalogue_metric_refuses_what_is_not_its_own():
    """Another K or measure cannot be merged, nor another state loaded, nor lists that are too short counted."""
    with pytest.raises(TypeError, match="same measure"):
        fed("recall@3", [{1}]).merge(fed("recall@1", [{1}]))
    with pytest.raises(TypeError, match="same measure"):
        fed("recall@3", [{1}]).merge(fed("ndcg@3", [{1}]))
    with pytest.raises(ValueError, match="sums"):
        fed("recall@3", [{1}]).load_state_dict({"sums": torch.zeros(1)})
    with pytest.raises(ValueError, match="at least 9 places; got 5"):
        get_catalogue_metric("recall@9").update(ranked([{1}]))
    with pytest.raises(ValueError, match=r"RankedUsers\.first"):
        get_catalogue_metric("mrr").update(ranked([{1}])._replace(first=None))
    with pytest.raises(ValueError, match="'recall@0'"):
        CatalogueMetric("recall", 0)
    with pytest.raises(TypeError, match="such as 'recall@20'"):
        get_catalogue_metric(20)
