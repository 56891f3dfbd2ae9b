"""Settings of callbacks that do not fit the trainer are one error, before any callback has begun."""

import logging

import pytest
import zoo
from refusals import assert_refused
from torch import nn
from torch.optim import lr_scheduler

from torch_rechub.basic.callback import EMA, SWA, Callback, Checkpoint, EarlyStopper, LearningRate, ReinitEmbeddings

PLATEAU = lr_scheduler.ReduceLROnPlateau


class Begins(Callback):
    """Stores whether it has begun."""

    begun = False

    def on_fit_begin(self, trainer):
        self.begun = True


class Plain(nn.Module):
    """A model without embeddings."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return self.linear(x["age"][:, None]).sigmoid()


CALLBACKS = {
    "stopper": (lambda: [EarlyStopper(2, monitor="aucc")], "EarlyStopper: monitor='aucc' is not measured.*Did you mean 'auc'"),
    "stopper of several": (lambda: [EarlyStopper(2, monitor={"auc": 1, "loglos": -1})], "EarlyStopper: monitor='loglos'.*mean 'logloss'"),
    "direction": (lambda: [EarlyStopper(2, "min")], "EarlyStopper: mode='min' contradicts the metric 'auc'"),
    "a weight": (lambda: [EarlyStopper(2, monitor={"auc": -1})], "EarlyStopper: the weight of 'auc' in monitor must be above 0"),
    "limits": (lambda: [EarlyStopper(2, monitor="logloss", target=0.7, divergence=0.5)], "EarlyStopper: with mode='min' target"),
    "significance": (lambda: [EarlyStopper(2, monitor="logloss", min_delta="significant")], "EarlyStopper: min_delta='significant' tests"),
    "checkpoint": (lambda: [Checkpoint(monitor="val_auc")], "Checkpoint: monitor='val_auc' is not measured.*Did you mean 'auc'"),
    "two averages": (lambda: [EMA(0.9), SWA(1)], "one EMA or one SWA"),
    "plateau": (lambda: [LearningRate(PLATEAU, {"mode": "min"})], "ReduceLROnPlateau: mode='min' contradicts"),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_settings_of_a_callback_are_refused_before_any_callback_begins(name, caplog):
    """The error names the callback and the closest name, once; no callback has begun, and nothing is logged."""
    make, said = CALLBACKS[name]
    watch = Begins()
    with caplog.at_level(logging.WARNING):
        if name == "plateau":  # found when its scheduler is made
            with pytest.raises(ValueError, match=said):
                zoo.trainer(callbacks=[watch, *make()])
        else:
            assert_refused(zoo.trainer(callbacks=[watch, *make()]), zoo.loaders()[1], said)
    assert not watch.begun
    assert not caplog.records


def test_a_plateau_without_validation_is_refused_before_any_callback_begins(caplog):
    """Also one of several schedules."""
    for schedule in (LearningRate(PLATEAU), LearningRate({"dense": PLATEAU})):
        watch = Begins()
        assert_refused(zoo.trainer(callbacks=[watch, schedule]), None, "LearningRate: ReduceLROnPlateau needs a validation metric")
        assert not watch.begun
    assert not caplog.records


def test_embeddings_that_are_not_there_are_refused_before_any_callback_begins(caplog):
    """ReinitEmbeddings needs embeddings."""
    watch = Begins()
    assert_refused(zoo.trainer(Plain(), callbacks=[watch, ReinitEmbeddings()]), zoo.loaders()[1], "no trainable embeddings")
    assert not watch.begun
    assert not caplog.records


def test_an_error_of_on_fit_begin_is_raised_and_not_logged(caplog):
    """It ends fit at once, and names the callback in a note."""

    class Fails(Callback):
        def on_fit_begin(self, trainer):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no") as raised:
        zoo.trainer(callbacks=[Fails()]).fit(*zoo.loaders())
    assert raised.value.__notes__ == ["raised by the callback Fails.on_fit_begin"]
    assert not caplog.records


RISING = [0.5, 0.6, 0.7, 0.8]


@pytest.mark.parametrize("when", ["given", "assigned"])
@pytest.mark.parametrize(("mode", "rates"), [("min", [1, 1, 0.5, 0.25]), ("max", [1, 1, 1, 1]), (None, [1, 1, 1, 1])])
def test_a_plateau_follows_the_mode_of_the_stopper(when, mode, rates):
    """Under an assigned function the direction of the early stopper holds for the schedule too, whichever was given first."""
    stopper = EarlyStopper(None, mode)
    options = {"scheduler_fn": PLATEAU, "scheduler_params": {"factor": 0.5, "patience": 0}, "n_epoch": 4}
    trainer = zoo.trainer(callbacks=[stopper] if when == "given" else [], **options)
    trainer.evaluate_fn = zoo.Scripted(RISING)
    if when == "assigned":
        trainer.early_stopper = stopper
    history = trainer.fit(*zoo.loaders())
    assert history["lr"] == [0.05 * rate for rate in rates]
    assert trainer.scheduler.mode == (mode or "max")
    assert trainer.early_stopper.best_auc == (min(RISING) if mode == "min" else max(RISING))


def test_a_plateau_against_the_mode_of_the_stopper_is_refused():
    """An explicit contrary mode of the schedule, assigned or given, is an error before the first step."""
    for mode, contrary in (("min", "max"), ("max", "min")):
        options = {"scheduler_fn": PLATEAU, "scheduler_params": {"mode": contrary}}
        with pytest.raises(ValueError, match=f"mode='{contrary}' contradicts the monitored metric, whose best is its {mode}imum"):
            zoo.trainer(callbacks=[EarlyStopper(None, mode)], **options)
        trainer = zoo.trainer(callbacks=[EarlyStopper(None, mode)])
        trainer.evaluate_fn = zoo.Scripted(RISING)
        trainer.scheduler = PLATEAU(trainer.optimizer, contrary)
        assert_refused(trainer, zoo.loaders()[1], f"LearningRate|ReduceLROnPlateau: mode='{contrary}' contradicts")


def test_the_k_best_follow_the_mode_of_the_stopper(tmp_path):
    """The weights in best/ are those of the smallest values where the stopper's are."""
    trainer = zoo.trainer(callbacks=[EarlyStopper(None, "min"), Checkpoint(keep_best=2)], model_path=tmp_path, n_epoch=4)
    trainer.evaluate_fn = zoo.Scripted(RISING)
    trainer.fit(*zoo.loaders())
    assert [entry["value"] for entry in trainer.callback(Checkpoint)._best_files.entries()] == RISING[:2]


def test_a_trainer_and_a_stopper_of_contrary_modes_are_refused():
    """Neither silently wins over the other."""
    trainer = zoo.trainer(mode="max", callbacks=[EarlyStopper(2, "min")])
    trainer.evaluate_fn = zoo.Scripted(RISING)
    assert_refused(trainer, zoo.loaders()[1], "EarlyStopper: mode='min' contradicts the trainer's mode='max'")
