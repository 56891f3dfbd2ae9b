"""The laws of a streaming metric, over every metric that the package exports."""

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
    found = [thing for thing in map(package.__dict__.get, package.__all__) if isinstance(thing, type) and issubclass(thing, Metric)]
    return [kind for kind in found if not inspect.isabstract(kind)]


def made(kind):
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


def test_metric_reflection_finds_them():
    """The laws below run over all metrics, not over an empty list."""
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
    """Rows cut into batches anywhere, some of them empty, and batches merged from several metrics, give what one pass gives."""
    data, edges = rows(n, seed, weighted), [0, *sorted(min(cut, n) for cut in cuts), n]
    whole, batches = feed(made(kind), data), made(kind)
    parts = [feed(made(kind), data, a, b) for a, b in itertools.pairwise(edges)]
    for a, b in itertools.pairwise(edges):
        feed(batches, data, a, b)
    assert same(batches.compute(), merged(*parts))
    assert merged(*parts) == pytest.approx(whole.compute(), rel=1e-13, abs=1e-13, nan_ok=True)


@every_metric
@given(n=st.integers(3, 60), seed=st.integers(0, 999), weighted=st.booleans())
def test_metric_merge_is_associative_and_commutes(kind, n, seed, weighted):
    """Parts merged in any grouping give the same bits; in any order, the same number to rounding."""
    data = rows(n, seed, weighted)
    parts = [feed(made(kind), data, a, b) for a, b in [(0, 1), (1, n // 2 + 1), (n // 2 + 1, n)]]
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
    """Merging an empty metric, from either side, changes no bit; and the metric that is merged stays as it is."""
    part = feed(made(kind), rows(50, 1, True))
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
    """Without one row there is no number: NaN and a logged warning that names the metric."""
    metric = made(kind)
    feed(metric, rows(0, 0, False))
    with caplog.at_level(logging.WARNING):
        assert math.isnan(metric.compute())
    assert metric.name in caplog.text


@every_metric
@pytest.mark.parametrize("weighted", [False, True])
def test_metric_state_goes_through_a_file(kind, weighted):
    """The state is plain tensors that torch loads without unpickling code; a fresh metric with it goes on as if nothing had happened."""
    metric, file = feed(made(kind), rows(40, 3, weighted)), io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    again = metric.empty()
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.compute() == metric.compute()
    assert feed(again, rows(40, 4, weighted)).compute() == feed(metric, rows(40, 4, weighted)).compute()


@every_metric
def test_metric_refuses_what_is_not_its_own(kind):
    """Another class's metric cannot be merged, nor another's state loaded."""

    class Other(kind):
        keeps = ("nothing",)

    other = made(Other) if kind is not FunctionMetric else Other(spread)
    with pytest.raises(TypeError, match="same class"):
        made(kind).merge(other)
    with pytest.raises(ValueError, match="stranger"):
        made(kind).load_state_dict({"stranger": torch.zeros(1)})


@every_metric
def test_metric_arguments_are_neither_changed_nor_kept(kind):
    """A buffer that the model reuses for its next step changes nothing that was measured, and a gradient is not held."""
    y, p, w, x = rows(30, 5, True)
    leaf = p.clone().requires_grad_()
    metric, reference = made(kind), feed(made(kind), (y, p, w, x))
    buffer = leaf * 1.0
    copies = y.clone(), w.clone(), x["user_id"].clone()
    metric.update(y, buffer, w, x)
    assert all(torch.equal(a, b) for a, b in zip(copies, (y, w, x["user_id"]), strict=True))
    wanted = reference.compute()
    with torch.no_grad():
        for tensor in (buffer, y, w, x["user_id"]):
            tensor.zero_()
    assert metric.compute() == wanted
    assert not any(column.requires_grad for column in metric.state_dict().values())


@every_metric
def test_metric_takes_columns_of_either_shape(kind):
    """(B,) and (B, 1) are the same; several columns, or lengths that differ, are errors that name the argument."""
    y, p, w, x = rows(20, 6, True)
    metric = made(kind)
    metric.update(y[:, None], p[:, None], w[:, None], {"user_id": x["user_id"][:, None]})
    assert metric.compute() == feed(made(kind), (y, p, w, x)).compute()
    with pytest.raises(ValueError, match=r"y_pred must be \(B,\).*\(20, 2\)"):
        metric.update(y, torch.rand(20, 2), w, x)
    with pytest.raises(ValueError, match=r"y_true must have as many rows.*19 and 20"):
        metric.update(y[:19], p, w, x)
    with pytest.raises(ValueError, match=r"weight must have as many rows.*19 and 20"):
        metric.update(y, p, w[:19], x)


@every_metric
def test_metric_of_ones_as_weights_is_the_unweighted_one(kind):
    """Weight 1 for each row is no weight, also when only some batches carry weights."""
    y, p, _, x = rows(40, 7, False)
    mixed = feed(feed(made(kind), (y, p, None, x), 0, 15), (y, p, torch.ones(40), x), 15)
    assert mixed.compute() == pytest.approx(feed(made(kind), (y, p, None, x)).compute(), rel=1e-13)


@every_metric
def test_metric_survives_many_small_batches(kind):
    """Thousands of batches of one row are kept in few pieces and give what one batch gives."""
    data, metric = rows(2500, 8, False), made(kind)
    for row in range(2500):
        feed(metric, data, row, row + 1)
    assert metric.compute() == pytest.approx(feed(made(kind), data).compute(), rel=1e-12)
    assert len(metric._kept._packed) <= 3


@every_metric
def test_metric_knows_its_direction(kind):
    """A perfect prediction is never worse than a wrong one in the metric's own direction; without a direction it cannot be monitored."""
    y, x = torch.tensor([1.0, 0.0, 1.0, 0.0]), {"user_id": torch.zeros(4)}
    good, bad = made(kind), made(kind)
    good.update(y, y.clone(), x=x)
    bad.update(y, 1 - y, x=x)
    if good.higher_is_better is None:
        with pytest.raises(ValueError, match=f"'{good.name}' cannot be monitored"):
            good.monitor_mode()
    elif kind is not FunctionMetric:  # there only the caller knows
        assert good.monitor_mode() == ("max" if good.compute() > bad.compute() else "min")


@every_metric
def test_metric_with_a_nan_prediction_is_nan(kind):
    """One NaN prediction is seen in every metric."""
    y, p, _, x = rows(20, 9, False)
    p[3] = math.nan
    assert math.isnan(feed(made(kind), (y, p, None, x)).compute())


@every_metric
def test_metric_empty_keeps_settings_and_name(kind):
    """A fresh metric has the settings of the one that it came from, a name that was assigned included."""
    metric = feed(made(kind), rows(20, 10, False))
    metric.name = "of_mine"
    assert (metric.empty().name, metric.empty().columns) == ("of_mine", metric.columns)
    assert metric.empty().state_dict() == {}
