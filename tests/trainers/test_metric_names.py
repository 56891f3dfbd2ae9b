"""A record's own fields are never overwritten by a metric, a function or a term of the loss."""

import ast
from pathlib import Path

import pytest
import torch
import zoo

import torch_rechub
from torch_rechub.basic.callback import NonFiniteGuard
from torch_rechub.basic.metric import AUC, RMSE, FunctionMetric, LogLoss
from torch_rechub.engine import CatalogueScorer, RowObjective
from torch_rechub.report.records import RECORD_FIELDS, is_record_field
from torch_rechub.trainers import CTRTrainer, Trainer

FIELDS = [*RECORD_FIELDS, "loss/click"]


def function(name):
    def measure(y_true, y_pred):
        return 0.5

    measure.__name__ = name
    return measure


def renamed(metric, name):
    metric.name = name
    return metric


def test_record_fields_are_those_that_a_record_has():
    """Every field of a real record is a metric or one of RECORD_FIELDS, and so is every name that the package adds to a record."""
    trainer = zoo.trainer(callbacks=[NonFiniteGuard("skip")], n_epoch=1)
    record = trainer.fit(*zoo.loaders())[0]
    assert {name for name in record if not is_record_field(name)} == {"auc", "logloss"}
    added = set()
    for path in Path(torch_rechub.__file__).parent.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        updates = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "update_last"]
        added |= {keyword.arg for call in updates for keyword in call.keywords if keyword.arg is not None}
    assert added
    assert {name for name in added if not is_record_field(name)} == set()


@pytest.mark.parametrize("name", [name for name in FIELDS if name.isidentifier()])
def test_a_function_with_the_name_of_a_field_is_refused_at_assignment(name):
    """The error names a free name; the trainer is as before, and trains and records the field itself."""
    trainer = zoo.trainer(n_epoch=1)
    with pytest.raises(ValueError, match=f"must not be named '{name}'.*Name it '{name}_metric' instead"):
        trainer.evaluate_fn = function(name)
    trainer.evaluate_fn = function(f"{name}_metric")
    record = trainer.fit(*zoo.loaders())[0]
    assert record[f"{name}_metric"] == 0.5
    assert record["step"] == 4


@pytest.mark.parametrize("name", FIELDS)
def test_a_metric_with_the_name_of_a_field_is_refused_in_the_constructor(name):
    """Of rows, of a function, of one task, and of a scorer."""
    catalogue = CatalogueScorer(items=[torch.arange(3)])
    catalogue.metrics[0].name = name
    for metrics in ([renamed(RMSE(), name)], ["auc", FunctionMetric(function("f"), name=name)], catalogue):
        with pytest.raises(ValueError, match=f"must not be named '{name}'.*Name it '.*_metric.*' instead"):
            zoo.trainer(metrics=metrics)


def test_a_metric_of_a_task_may_not_have_the_name_of_a_term():
    """A metric "loss" of the task "click" would be recorded where the loss of the term "click" is."""
    with pytest.raises(ValueError, match=r"'loss/click'.*Name it 'loss_metric/click'"):
        zoo.trainer(metrics={"click": [renamed(RMSE(), "loss")]})


@pytest.mark.parametrize("metrics", [["auc", "auc"], [AUC, "auc"], ["rmse", renamed(LogLoss(), "rmse")]])
def test_two_metrics_of_one_name_are_refused(metrics):
    """The error names the name and a free one."""
    with pytest.raises(ValueError, match=r"different names; got two called '(auc|rmse)'.*such as '(auc|rmse)_2'"):
        zoo.trainer(metrics=metrics)


def test_a_function_does_not_replace_a_listed_metric():
    """Of the same name it is refused; a default metric of the same name steps aside; other functions stay."""
    bias = FunctionMetric(function("bias"))
    trainer = zoo.trainer(metrics=["auc", bias], n_epoch=1)
    with pytest.raises(ValueError, match=r"another metric has this name. Name it 'auc_metric'"):
        trainer.evaluate_fn = function("auc")
    trainer.evaluate_fn = function("first")
    trainer.evaluate_fn = function("second")
    assert [metric.name for metric in trainer.scoring.metrics] == ["second", "auc", "bias"]
    trainer = zoo.trainer(n_epoch=1)
    trainer.evaluate_fn = function("auc")
    assert trainer.fit(*zoo.loaders())["auc"] == [0.5]


def test_a_lambda_is_recorded_as_metric():
    """A function without a name of its own gets one that can be read from the history."""
    trainer = zoo.trainer(n_epoch=1)
    trainer.evaluate_fn = lambda y, p: 0.25
    assert trainer.monitor == "metric"
    assert trainer.fit(*zoo.loaders())["metric"] == [0.25]


def test_a_metric_needs_a_name_and_a_direction():
    """A class that lacks one is named with the attribute to set."""
    for attribute in ("name", "higher_is_better"):
        members = {name: getattr(RMSE, name) for name in ("terms", "result")}
        members |= {"name": "mine", "higher_is_better": True}
        del members[attribute]
        kind = type("Mine", (RMSE.__mro__[1],), members)
        with pytest.raises(TypeError, match=f"Mine has no attribute '{attribute}'. Set it in the class"):
            zoo.trainer(metrics=[kind])
    for name in ("", None, 3):
        with pytest.raises(TypeError, match="must have a name, which is a text"):
            zoo.trainer(metrics=[renamed(RMSE(), name)])


@pytest.mark.parametrize("term", ["batches", "value of the loss"])
def test_a_term_may_not_have_a_name_of_the_loop(term):
    """A term of such a name would replace the number of batches, or the value of the loss; it is refused before the first step."""

    class Renamed(RowObjective):
        def sizes(self, batch):
            return {term: self.n_row(batch)}

    class Own(CTRTrainer):
        def make_objective(self, model):
            return Renamed(model, torch.nn.BCELoss())

    trainer: Trainer = Own(zoo.model(), model_path=None, progress=False)
    with pytest.raises(ValueError, match=f"must not be called '{term}'"):
        trainer.fit(zoo.loaders()[0])
    assert trainer.state.step == 0
