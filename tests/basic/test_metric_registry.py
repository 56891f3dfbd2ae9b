"""Metrics by name, functions as metrics, and the names that a metric must not have."""

import functools
import logging
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from torch_rechub.basic.metric import AUC, GAUC, Accuracy, FunctionMetric, Metric, NormalizedEntropy, get_metric
from torch_rechub.basic.metric.base import RECORD_FIELDS, check_metric_name

NAMES = ["auc", "gauc", "logloss", "accuracy", "rmse", "mae", "normalized_entropy", "calibration"]


@pytest.mark.parametrize("name", NAMES)
def test_get_metric_by_name_gives_the_metric_of_that_name(name):
    """The metric has the name that was given, which is not case-sensitive."""
    assert get_metric(name).name == get_metric(name.upper()).name == name


def test_get_metric_returns_a_new_metric_each_time():
    """Names, classes and instances give a new metric with the same settings; the instance is not changed."""
    mine = Accuracy(threshold=0.3)
    mine.update(torch.tensor([1]), torch.tensor([0.9]))
    other = get_metric(mine)
    assert isinstance(other, Accuracy)
    assert (other.threshold, other.state_dict(), mine.compute()) == (0.3, {}, 1.0)
    assert isinstance(get_metric(AUC), AUC)
    assert get_metric("auc") is not get_metric("auc")
    assert isinstance(get_metric("ne"), NormalizedEntropy)
    assert get_metric(GAUC("session")).columns == ("session",)


@pytest.mark.parametrize(
    ("name", "meant"), [("acu", "auc"), ("log_loss", "logloss"), ("Acuracy", "accuracy"), ("normalised_entropy", "normalized_entropy")]
)
def test_get_metric_suggests_the_closest_name(name, meant):
    """An unknown name is an error that suggests the closest known name."""
    with pytest.raises(ValueError, match=f"'{name}'.*Did you mean '{meant}'"):
        get_metric(name)


@pytest.mark.parametrize("spec", [None, 3, int, roc_auc_score, ["auc"]])
def test_get_metric_refuses_other_types(spec):
    """Anything but a name, a metric class or a metric is an error that points to FunctionMetric."""
    with pytest.raises(TypeError, match="FunctionMetric"):
        get_metric(spec)


def test_function_metric_calls_once_with_all_rows():
    """Each compute calls the function exactly once, with two 1-D arrays of all rows in order."""
    calls = []

    def score(y_true, y_pred):
        calls.append((y_true, y_pred))
        return roc_auc_score(y_true, y_pred)

    metric = FunctionMetric(score)
    metric.update(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.5], [0.25]]), weight=torch.tensor([1.0, 2.0]))
    metric.update(torch.tensor([0.0]), torch.tensor([0.75]))
    assert calls == []
    assert metric.compute() == 0.5
    ((y_true, y_pred),) = calls
    assert isinstance(y_true, np.ndarray)
    assert isinstance(y_pred, np.ndarray)
    assert (y_true.tolist(), y_pred.tolist()) == ([1.0, 0.0, 0.0], [0.5, 0.25, 0.75])


class Scorer:
    def __call__(self, y_true, y_pred):
        return 0.0


@pytest.mark.parametrize(
    ("fn", "name"),
    [(roc_auc_score, "roc_auc_score"), (lambda a, b: 0, "metric"), (functools.partial(max, key=None), "metric"), (Scorer(), "metric")],
    ids=["function", "lambda", "partial", "object"],
)
def test_function_metric_is_named_after_its_function(fn, name):
    """The name is that of the function, or "metric" if it has no valid name; a given name takes precedence."""
    assert FunctionMetric(fn).name == name
    assert FunctionMetric(fn, name="mine").name == "mine"
    assert FunctionMetric(fn).higher_is_better
    assert not FunctionMetric(fn, higher_is_better=False).higher_is_better


@pytest.mark.parametrize("value", [1, 0.5, True, np.float32(0.5), np.array([0.5]), np.array(0.5), torch.tensor(0.5), math.nan], ids=repr)
def test_function_metric_takes_any_one_number(value):
    """Any single number is converted to a float."""
    metric = FunctionMetric(lambda y_true, y_pred: value)
    metric.update(torch.tensor([1.0]), torch.tensor([0.5]))
    assert isinstance(metric.compute(), float)
    assert metric.compute() == pytest.approx(float(np.asarray(value).reshape(-1)[0]), nan_ok=True)


@pytest.mark.parametrize("value", [None, "high", [0.5], {"auc": 0.5}, np.zeros(2), torch.zeros(2), 1j], ids=repr)
def test_function_metric_refuses_other_return_values(value):
    """Any other return value is an error that names the metric and the value."""
    metric = FunctionMetric(lambda y_true, y_pred: value, name="odd")
    metric.update(torch.tensor([1.0]), torch.tensor([0.5]))
    with pytest.raises(TypeError, match=f"odd: the function must return one number; got {type(value).__name__}"):
        metric.compute()


def test_function_metric_refuses_what_cannot_be_called():
    """A value that is not callable is an error at construction."""
    with pytest.raises(TypeError, match="fn must be a function"):
        FunctionMetric(0.5)


def test_function_metric_without_rows_does_not_call(caplog):
    """Without rows the function is not called, and the value is NaN."""
    with caplog.at_level(logging.WARNING):
        assert math.isnan(FunctionMetric(Scorer()).compute())


@pytest.mark.parametrize("name", RECORD_FIELDS)
def test_metric_names_of_record_fields_are_refused(name):
    """A metric must not have the name of a record field; the error suggests a name that is accepted."""
    with pytest.raises(ValueError, match=f"must not be named '{name}'") as raised:
        check_metric_name(name)
    suggested = str(raised.value).split("'")[3]
    assert suggested != name
    check_metric_name(suggested)


@pytest.mark.parametrize("name", NAMES)
def test_metric_names_of_our_metrics_are_accepted(name):
    """None of the metrics that are known by name has the name of a record field."""
    check_metric_name(name)


def test_metric_base_class_is_abstract():
    """A metric class without ``keep`` and ``compute`` cannot be instantiated."""

    class Half(Metric):
        name = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half()
