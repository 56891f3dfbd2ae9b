"""Accepted differences, another patience, and compiled models: runs that go on although something differs."""

from __future__ import annotations

import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe, SaveEvery, assert_same, result
from test_identity import Own, started
from torch.optim import lr_scheduler

from torch_rechub.basic.callback import EMA, EarlyStopper


def test_accepted_differences_resume_and_are_recorded(tmp_path):
    """With accept= the present settings hold from the save on, the saves and the report say so, and a later resume knows them."""

    def start(resume, accept=(), *extra, lr=0.01, weight_decay=0.0, decay=0.99):
        trainer = zoo.trainer(
            n_epoch=2,
            optimizer_params={"lr": lr, "weight_decay": weight_decay},
            scheduler_fn=lr_scheduler.ExponentialLR,
            scheduler_params={"gamma": 0.5},
            model_path=tmp_path,
            callbacks=[EMA(decay), SaveEvery(), *extra],
        )
        trainer.fit(*zoo.loaders(), resume=resume, accept=accept)
        return trainer

    with pytest.raises(Interrupted):
        start(None, (), InterruptAt(5), lr=0.05)
    names = ["lr of the optimizer", "weight_decay of the optimizer", "decay of EMA"]
    changed = {"weight_decay": 0.1, "decay": 0.5}
    with pytest.raises(Interrupted):
        start("auto", names, InterruptAt(6), **changed)
    trainer = start("auto", **changed)
    assert trainer.history["lr"] == pytest.approx([0.05, 0.01 * 0.5])
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0.1
    assert [sentence.partition(":")[0] for sentence in trainer.state.accepted] == names
    assert "0.05 until step 5, then 0.01" in trainer.state.accepted[0]
    trainer.report(tmp_path / "report.html")
    assert "Accepted when resuming" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        (["lr"], r"no setting 'lr'\. Did you mean 'lr of the optimizer'"),
        ("lr of the optimizer", "accept must be a list"),
        (["monitor"], "cannot be accepted: what was best would be compared with something else"),
        (["shape of mlp.mlp.0.weight"], "cannot be accepted: the save does not fit"),
        (["amsgrad of the optimizer"], "cannot be accepted: the save does not fit"),
        (["seed of the training data"], "cannot be accepted: the place in the data"),
    ],
)
def test_what_cannot_be_accepted_is_named(accept, message, tmp_path):
    """An unknown name gets the closest ones, and a difference with which the save cannot be used is refused with the reason."""
    started(tmp_path, {})
    trainer = zoo.trainer(model_path=tmp_path, callbacks=[SaveEvery()], n_epoch=2)
    with pytest.raises((ValueError, TypeError), match=message):
        trainer.fit(*zoo.loaders(), resume="auto", accept=accept)
    with pytest.raises((ValueError, TypeError), match=r"needs resume=|must be a list"):
        trainer.fit(*zoo.loaders(), accept=accept)


@pytest.mark.parametrize("val_every", [None, 1, 3])
@pytest.mark.parametrize("patience", [1, 2])
def test_an_ended_run_goes_on_with_more_patience(val_every, patience, tmp_path, caplog):
    """A run that patience ended goes on from its stop, within an epoch as well, and ends as if it had had more patience all along."""
    values = [0.7, 0.6, 0.5, 0.65, 0.8, 0.4, 0.3, 0.2, *[0.1] * 9]

    class Values:
        """Gives each validation the value of its number, also in a resumed run."""

        def __init__(self, trainer):
            self.trainer = trainer

        def __call__(self, y_true, y_pred):
            return values[self.trainer.state.n_validation]

    def start(folder, patience, resume):
        trainer = zoo.trainer(n_epoch=6, val_every=val_every, model_path=folder, callbacks=[EarlyStopper(patience), SaveEvery()])
        trainer.evaluate_fn = Values(trainer)
        torch.manual_seed(4)
        trainer.fit(*zoo.loaders(), resume=resume)
        return trainer

    expected = result(start(tmp_path / "whole", 4, None))
    assert start(tmp_path / "parts", patience, None).history.stop_reason is not None
    stopped = start(tmp_path / "parts", patience, "auto")
    assert stopped.history.stop_reason is not None
    caplog.set_level("INFO", "torch_rechub")
    assert_same(result(start(tmp_path / "parts", 4, "auto")), expected)
    assert "the saved run had stopped: " in caplog.text
    assert "With patience=4 it goes on" in caplog.text


def test_less_patience_ends_a_resumed_run_at_once(tmp_path, caplog):
    """Where the saved run has waited longer than the present patience, no further step is made, and the log says why."""

    def start(patience, resume, *extra):
        trainer = zoo.trainer(n_epoch=6, model_path=tmp_path, callbacks=[EarlyStopper(patience), SaveEvery(), *extra])
        trainer.evaluate_fn = zoo.Scripted([0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
        trainer.fit(*zoo.loaders(), resume=resume)
        return trainer

    with pytest.raises(Interrupted):
        start(None, None, InterruptAt(13))
    caplog.set_level("INFO", "torch_rechub")
    trainer = start(2, "auto")
    assert trainer.state.step == 13
    assert "no improvement in 2 validations" in trainer.history.stop_reason
    assert "with patience=2 the saved run stops" in caplog.text


@pytest.mark.parametrize("resumed", ["compiled", "plain"])
def test_compiled_and_plain_runs_know_each_other(resumed, tmp_path):
    """A run of a compiled model is resumed with the plain one and the other way round."""

    def model(kind):
        return torch.compile(Own(), backend="eager") if kind == "compiled" else Own()

    first = "plain" if resumed == "compiled" else "compiled"
    started(tmp_path, {"make": lambda: model(first)})
    assert Recipe(make=lambda: model(resumed)).start(tmp_path, "auto").state.step == 8
