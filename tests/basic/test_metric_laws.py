"""Properties that every exported streaming metric must have."""

import inspect
import io
import itertools
import logging
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic import metric as package
from torch_rechub.basic.metric import FunctionMetric, Metric


def spread(y_true, y_pred):
    return float(np.ptp(y_pred) + y_true.mean())


def exported():
    kinds = [value for value in map(package.__dict__.get, package.__all__) if isinstance(value, type) and issubclass(value, Metric)]
    return [kind for kind in kinds if not inspect.isabstract(kind)]


def make(kind):
    return FunctionMetric(spread) if kind is FunctionMetric else kind()


every_metric = pytest.mark.parametrize("kind", exported(), ids=lambda kind: kind.__name__)


def rows(n, seed, weighted):
    random = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, generator=random) < 0.4).float()
    p = (torch.rand(n, generator=random) * 8).round() / 8  # ties, and exact zeros and ones
    w = torch.rand(n, generator=random) + 0.1 if weighted else None
    return y, p, w, {"user_id": torch.randint(0, 5, (n,), generator=random)}


def feed(metric, data, start=0, stop=None):
    y, p, w, x = data
    part = slice(start, stop)
    metric.update(y[part], p[part], None if w is None else w[part], {name: column[part] for name, column in x.items()})
    return metric


def merged(*parts):
    total = parts[0].empty()
    for part in parts:
        total.merge(part)
    return total.compute()


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def test_metric_tests_run_over_all_exported_metrics():
    """The list of metrics that the tests below run over is complete."""
    assert {kind.__name__ for kind in exported()} >= {
        "AUC",
        "GAUC",
        "LogLoss",
        "Accuracy",
        "RMSE",
        "MAE",
        "NormalizedEntropy",
        "Calibration",
    }


@every_metric
@given(n=st.integers(1, 60), cuts=st.lists(st.integers(0, 60), max_size=5), seed=st.integers(0, 999), weighted=st.booleans())
def test_metric_split_anywhere_equals_one_pass(kind, n, cuts, seed, weighted):
    """Any division of the rows into batches, also with empty ones, and any merge of metrics give the value of one pass."""
    data, edges = rows(n, seed, weighted), [0, *sorted(min(cut, n) for cut in cuts), n]
    one_pass, batches = feed(make(kind), data), make(kind)
    parts = [feed(make(kind), data, a, b) for a, b in itertools.pairwise(edges)]
    for a, b in itertools.pairwise(edges):
        feed(batches, data, a, b)
    assert same(batches.compute(), merged(*parts))
    assert merged(*parts) == pytest.approx(one_pass.compute(), rel=1e-13, abs=1e-13, nan_ok=True)


@every_metric
@given(n=st.integers(3, 60), seed=st.integers(0, 999), weighted=st.booleans())
def test_metric_merge_is_associative_and_commutes(kind, n, seed, weighted):
    """Any grouping of the merges gives the same bits; any order gives the same value up to rounding."""
    data = rows(n, seed, weighted)
    parts = [feed(make(kind), data, a, b) for a, b in [(0, 1), (1, n // 2 + 1), (n // 2 + 1, n)]]
    left, right = parts[0].empty(), parts[1].empty()
    for part in parts[:2]:
        left.merge(part)
    left.merge(parts[2])
    for part in parts[1:]:
        right.merge(part)
    right_first = parts[0].empty()
    right_first.merge(parts[0])
    right_first.merge(right)
    assert same(left.compute(), right_first.compute())
    assert merged(*reversed(parts)) == pytest.approx(left.compute(), rel=1e-13, abs=1e-13, nan_ok=True)


@every_metric
def test_metric_empty_is_the_identity(kind):
    """Merging with an empty metric, on either side, changes no bit; the merged metric is not changed."""
    part = feed(make(kind), rows(50, 1, True))
    before = part.compute()
    total = part.empty()
    total.merge(part)
    total.merge(part.empty())
    part.merge(part.empty())
    assert before == total.compute() == part.compute()
    feed(total, rows(50, 2, True))
    assert part.compute() == before != total.compute()


@every_metric
def test_metric_of_no_rows_is_nan_and_logged(kind, caplog):
    """Without rows the value is NaN, and a logged warning names the metric."""
    metric = make(kind)
    feed(metric, rows(0, 0, False))
    with caplog.at_level(logging.WARNING):
        assert math.isnan(metric.compute())
    assert metric.name in caplog.text


@every_metric
@pytest.mark.parametrize("weighted", [False, True])
def test_metric_state_goes_through_a_file(kind, weighted):
    """The state holds plain tensors, which torch loads with weights_only; a new metric with this state continues with the same values."""
    metric, file = feed(make(kind), rows(40, 3, weighted)), io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    again = metric.empty()
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.compute() == metric.compute()
    assert feed(again, rows(40, 4, weighted)).compute() == feed(metric, rows(40, 4, weighted)).compute()


@every_metric
def test_metric_refuses_other_classes(kind):
    """A metric of another class cannot be merged, and the state of another class cannot be loaded."""

    class Other(kind):
        keeps = ("nothing",)

    other = make(Other) if kind is not FunctionMetric else Other(spread)
    with pytest.raises(TypeError, match="same class"):
        make(kind).merge(other)
    with pytest.raises(ValueError, match="stranger"):
        make(kind).load_state_dict({"stranger": torch.zeros(1)})


@every_metric
def test_metric_neither_changes_nor_references_its_arguments(kind):
    """Later writes into the arguments do not change the value, and the metric holds no gradient graph."""
    y, p, w, x = rows(30, 5, True)
    leaf = p.clone().requires_grad_()
    metric, reference = make(kind), feed(make(kind), (y, p, w, x))
    buffer = leaf * 1.0
    copies = y.clone(), w.clone(), x["user_id"].clone()
    metric.update(y, buffer, w, x)
    assert all(torch.equal(a, b) for a, b in zip(copies, (y, w, x["user_id"]), strict=True))
    expected = reference.compute()
    with torch.no_grad():
        for tensor in (buffer, y, w, x["user_id"]):
            tensor.zero_()
    assert metric.compute() == expected
    assert not any(column.requires_grad for column in metric.state_dict().values())


@every_metric
def test_metric_takes_columns_of_either_shape(kind):
    """(B,) and (B, 1) give the same value; several columns, or different lengths, are errors that name the argument."""
    y, p, w, x = rows(20, 6, True)
    metric = make(kind)
    metric.update(y[:, None], p[:, None], w[:, None], {"user_id": x["user_id"][:, None]})
    assert metric.compute() == feed(make(kind), (y, p, w, x)).compute()
    with pytest.raises(ValueError, match=r"y_pred must be \(B,\).*\(20, 2\)"):
        metric.update(y, torch.rand(20, 2), w, x)
    with pytest.raises(ValueError, match=r"y_true must have as many rows.*19 and 20"):
        metric.update(y[:19], p, w, x)
    with pytest.raises(ValueError, match=r"weight must have as many rows.*19 and 20"):
        metric.update(y, p, w[:19], x)


@every_metric
def test_metric_with_weights_of_one_equals_the_unweighted_one(kind):
    """Row weights of 1 give the unweighted value, also if only some batches have weights."""
    y, p, _, x = rows(40, 7, False)
    mixed = feed(feed(make(kind), (y, p, None, x), 0, 15), (y, p, torch.ones(40), x), 15)
    assert mixed.compute() == pytest.approx(feed(make(kind), (y, p, None, x)).compute(), rel=1e-13)


@every_metric
def test_metric_survives_many_small_batches(kind):
    """Thousands of batches of one row are stored in few tensors and give the value of one batch."""
    data, metric = rows(2500, 8, False), make(kind)
    for row in range(2500):
        feed(metric, data, row, row + 1)
    assert metric.compute() == pytest.approx(feed(make(kind), data).compute(), rel=1e-12)
    assert len(metric._chunks._joined) <= 3


@every_metric
def test_metric_knows_its_direction(kind):
    """A perfect prediction has a better value than an inverted one, in the direction that ``higher_is_better`` states."""
    y, x = torch.tensor([1.0, 0.0, 1.0, 0.0]), {"user_id": torch.zeros(4)}
    good, bad = make(kind), make(kind)
    good.update(y, y.clone(), x=x)
    bad.update(y, 1 - y, x=x)
    if good.higher_is_better is not None and kind is not FunctionMetric:  # the caller of FunctionMetric states the direction
        assert good.higher_is_better == (good.compute() > bad.compute())


@every_metric
def test_metric_with_a_nan_prediction_is_nan(kind):
    """One NaN prediction makes every metric NaN."""
    y, p, _, x = rows(20, 9, False)
    p[3] = math.nan
    assert math.isnan(feed(make(kind), (y, p, None, x)).compute())


@every_metric
def test_metric_empty_keeps_settings_and_name(kind):
    """``empty`` keeps the settings, an assigned name included."""
    metric = feed(make(kind), rows(20, 10, False))
    metric.name = "my_name"
    assert (metric.empty().name, metric.empty().columns) == ("my_name", metric.columns)
    assert metric.empty().state_dict() == {}
