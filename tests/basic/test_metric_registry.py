"""Metrics by name, and functions as metrics."""

import functools
import logging
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from torch_rechub.basic.metric import AUC, GAUC, Accuracy, FunctionMetric, Metric, NormalizedEntropy, get_metric

NAMES = ["auc", "gauc", "logloss", "accuracy", "rmse", "mae", "normalized_entropy", "calibration"]


@pytest.mark.parametrize("name", NAMES)
def test_get_metric_by_name_gives_the_metric_of_that_name(name):
    """The name that is asked for is the name that is recorded, in any case of letters."""
    assert get_metric(name).name == get_metric(name.upper()).name == name


def test_get_metric_gives_a_fresh_one_each_time():
    """Names, classes and instances give a fresh metric with the settings asked for; an instance stays as it was."""
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
    """A name that no metric has is an error that says which one was meant."""
    with pytest.raises(ValueError, match=f"'{name}'.*Did you mean '{meant}'"):
        get_metric(name)


@pytest.mark.parametrize("spec", [None, 3, int, roc_auc_score, ["auc"]])
def test_get_metric_refuses_what_is_no_metric(spec):
    """Anything but a name, a metric class or a metric is an error that says how a function becomes one."""
    with pytest.raises(TypeError, match="FunctionMetric"):
        get_metric(spec)


def test_function_metric_calls_once_with_all_rows():
    """The function is called exactly once a compute, with two 1-D arrays of all rows in order, and never by batch."""
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
    """A function gives its name, what has none of use is "metric", and a given name comes first."""
    assert FunctionMetric(fn).name == name
    assert FunctionMetric(fn, name="mine").name == "mine"
    assert FunctionMetric(fn).monitor_mode() == "max"
    assert FunctionMetric(fn, higher_is_better=False).monitor_mode() == "min"


@pytest.mark.parametrize("answer", [1, 0.5, True, np.float32(0.5), np.array([0.5]), np.array(0.5), torch.tensor(0.5), math.nan], ids=repr)
def test_function_metric_takes_any_one_number(answer):
    """Whatever is one number comes out as a float."""
    metric = FunctionMetric(lambda y_true, y_pred: answer)
    metric.update(torch.tensor([1.0]), torch.tensor([0.5]))
    assert isinstance(metric.compute(), float)
    assert metric.compute() == pytest.approx(float(np.asarray(answer).reshape(-1)[0]), nan_ok=True)


@pytest.mark.parametrize("answer", [None, "high", [0.5], {"auc": 0.5}, np.zeros(2), torch.zeros(2), 1j], ids=repr)
def test_function_metric_refuses_what_is_no_number(answer):
    """A function that returns anything else is told so, by name and with what it returned."""
    metric = FunctionMetric(lambda y_true, y_pred: answer, name="odd")
    metric.update(torch.tensor([1.0]), torch.tensor([0.5]))
    with pytest.raises(TypeError, match=f"odd: the function must return one number; got {type(answer).__name__}"):
        metric.compute()


def test_function_metric_refuses_what_cannot_be_called():
    """A value in place of a function is an error at once."""
    with pytest.raises(TypeError, match="fn must be a function"):
        FunctionMetric(0.5)


def test_function_metric_without_rows_does_not_call(caplog):
    """Without rows there is nothing to ask the function."""
    with caplog.at_level(logging.WARNING):
        assert math.isnan(FunctionMetric(Scorer()).compute())


def test_metric_base_names_what_is_missing():
    """A metric class without its two methods cannot be made."""

    class Half(Metric):
        name = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half()
