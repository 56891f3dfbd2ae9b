"""Metrics and functions are computed once before the first step, so that one that cannot be is found; the call does not count."""

import numpy as np
import pytest
import torch
import zoo
from refusals import assert_refused, validation
from sklearn.metrics import roc_auc_score

from torch_rechub.basic.metric import AUC, FunctionMetric, Metric


@pytest.mark.parametrize("value", [{"auc": 0.5}, (0.5, 0.4), None, np.zeros(3), "0.5", [0.5], 1j, torch.zeros(2)])
@pytest.mark.parametrize("kind", ["table", "list"])
def test_a_function_that_returns_no_number_is_refused_before_the_first_step(kind, value):
    """A dict, a tuple, None, an array, a text is named with its type."""

    def judge(y_true, y_pred):
        return value

    trainer = zoo.trainer()
    trainer.evaluate_fn = judge
    assert_refused(trainer, validation(kind), f"judge: the function must return one number; got {type(value).__name__}", TypeError)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), np.array([0.5]), 1, True, float("nan")])
def test_a_function_may_return_any_one_number(value):
    """Numbers of Python, numpy and torch, and NaN, train."""
    trainer = zoo.trainer(n_epoch=1)
    trainer.evaluate_fn = lambda y_true, y_pred: value
    assert len(trainer.fit(*zoo.loaders())) == 1


@pytest.mark.parametrize("function", [lambda y: 0.5, lambda y, p, weight: 0.5, lambda: 0.5, lambda *, y_true, y_pred: 0.5])
def test_a_function_of_other_arguments_is_refused_at_assignment(function):
    """A function that cannot be called with two arrays is named with its signature."""
    with pytest.raises(TypeError, match=r"called with two arrays, \(y_true, y_pred\); got <lambda>"):
        zoo.trainer().evaluate_fn = function
    with pytest.raises(TypeError, match=r"called with two arrays"):
        FunctionMetric(function)


def test_an_error_of_the_function_is_raised_before_the_first_step():
    """It is named with the function, and the original error is its cause."""

    def broken(y_true, y_pred):
        raise KeyError("threshold")

    for kind in ("table", "DataLoader", "list"):
        trainer = zoo.trainer()
        trainer.evaluate_fn = broken
        assert_refused(trainer, validation(kind), "The function 'broken'.*raised KeyError.*threshold.*40 rows")
    trainer = zoo.trainer()
    trainer.evaluate_fn = broken
    with pytest.raises(ValueError, match="raised KeyError") as caught:
        trainer.fit(*zoo.loaders())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_function_that_needs_the_rows_of_the_validation_is_accepted(caplog):
    """A function that reads an array with one entry a row fails for four rows only; without a known number of rows there is a warning."""
    users = zoo.columns(40, seed=7)["user"]

    def per_user(y_true, y_pred):
        return float(np.bincount(users, weights=y_true * y_pred).max())

    for kind, n_warning in (("table", 0), ("DataLoader", 0), ("list", 0), ("generator", 1)):
        caplog.clear()
        trainer = zoo.trainer(n_epoch=1)
        trainer.evaluate_fn = per_user
        assert len(trainer.fit(zoo.loaders()[0], validation(kind))) == 1
        assert sum("for four made-up rows" in message for message in caplog.messages) == n_warning


class Failing(Metric):
    name, higher_is_better, keeps = "failing", True, ("y",)

    def keep(self, y_true, y_pred, weight, x):
        return {"y": y_true.clone()}

    def compute(self):
        return self.threshold


def test_a_metric_that_cannot_be_computed_is_refused_before_the_first_step():
    """A metric of the user's whose compute raises, or gives no number, is named."""
    assert_refused(zoo.trainer(metrics=["auc", Failing()]), validation("table"), r"The metric 'failing' \(Failing\) raised AttributeError")
    given = Failing()
    given.threshold = {"a": 1}
    assert_refused(zoo.trainer(metrics=["auc", given]), validation("table"), "failing: .* must return one number; got dict", TypeError)


def test_the_trial_call_does_not_count(tmp_path):
    """Counters of the function, its random numbers and those of the process are as if it had not been called."""
    calls, rng = [], np.random.default_rng(0)

    def sampled(y_true, y_pred):
        calls.append(len(y_true))
        rows = rng.permutation(len(y_true))[:30]
        np.random.rand(), torch.rand(1)
        return roc_auc_score(y_true[rows], y_pred[rows]) if len(np.unique(y_true[rows])) == 2 else 0.5

    trainer = zoo.trainer(val_every=2)
    trainer.evaluate_fn = sampled
    history = trainer.fit(*zoo.loaders())
    assert calls == [40] * len(history)
    expected = np.random.default_rng(0)
    for _ in calls:
        expected.permutation(40)
    assert rng.bit_generator.state == expected.bit_generator.state


class Reading(Metric):
    """Reads a column that it does not list, and needs ten rows."""

    name, higher_is_better, keeps = "reading", True, ("user",)

    def keep(self, y_true, y_pred, weight, x):
        return {"user": x["user"].clone()}

    def compute(self):
        return float(self.state_dict()["user"].reshape(-1, 10).double().mean())


def test_a_metric_that_needs_the_rows_of_the_validation_is_accepted(caplog):
    """Such a metric is computed for all rows of a table, with all columns; of another loader it is trusted, with a warning."""
    for kind, n_warning in (("table", 0), ("list", 1)):
        caplog.clear()
        assert len(zoo.trainer(metrics=["auc", Reading()], n_epoch=1).fit(zoo.loaders()[0], validation(kind))) == 1
        assert sum("for four made-up rows" in message for message in caplog.messages) == n_warning


def test_checks_store_nothing_in_the_metric():
    """The metric of the trainer holds no rows after ``fit``."""
    metric = AUC()
    trainer = zoo.trainer(metrics=[metric], n_epoch=1)
    trainer.fit(*zoo.loaders())
    assert all(not each.state_dict() for each in trainer.scoring.metrics)
