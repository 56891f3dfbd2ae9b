"""However a run ends, the model and model.pth hold the best weights that a validation has measured."""

from __future__ import annotations

import logging
import math

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback, EarlyStopper, early_stopper
from torch_rechub.storage import files as storage
from torch_rechub.trainers import Trainer

WORSE_THEN = [0.5, 0.7, 0.6, 0.65, 0.69, 0.1, 0.2, 0.3, 0.4, 0.1]


def raises_at(hook, n, error):
    """A callback that raises at the n-th call of a hook."""
    left = iter(range(n - 1, -1000, -1))

    def raise_at(self, trainer):
        if next(left) == 0:
            raise error

    return type("Raises", (Callback,), {hook: raise_at})()


class RaisingLoader:
    """Raises in place of the n-th batch, counted over all epochs."""

    def __init__(self, loader, n, error):
        self.loader, self.n, self.error = loader, n, error

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            self.n -= 1
            if self.n == 0:
                raise self.error
            yield batch


class StopsAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer):
        if trainer.state.step == self.step:
            trainer.request_stop("enough")


def make(tmp_path, values=WORSE_THEN, *, callbacks=(), **options):
    watch = zoo.Watch()
    settings = {"n_epoch": len(values), "earlystop_patience": 3, "model_path": tmp_path / "saved", "callbacks": [watch, *callbacks]}
    trainer = zoo.trainer(**(settings | options))
    trainer.evaluate_fn = zoo.Scripted(values)
    return trainer, watch


def assert_best(trainer, watch, tmp_path):
    """The model and model.pth hold the weights of the record with the best metric (the first of equals)."""
    values = trainer.history["metric"]
    best = max((i for i in range(len(values)) if math.isfinite(values[i])), key=lambda i: (values[i], -i))
    expected = watch.at_validation[best]
    assert zoo.same(trainer.model.state_dict(), expected)
    assert zoo.same(trainer.early_stopper.best_weights, expected)
    assert trainer.early_stopper.best_auc == values[best]
    assert trainer.history.best is trainer.history[best]
    assert zoo.same(torch.load(tmp_path / "saved" / "model.pth", weights_only=True), expected)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["model.pth"]
    assert not trainer.model.training
    assert trainer.state.phase == "idle"


def test_best_weights_survive_a_full_run(tmp_path):
    """After the last epoch the model holds the best weights, not the last ones."""
    trainer, watch = make(tmp_path, [0.5, 0.7, 0.6])
    history = trainer.fit(*zoo.loaders())
    assert len(history) == 3
    assert history.stop_reason is None
    assert_best(trainer, watch, tmp_path)
    assert not zoo.same(trainer.model.state_dict(), watch.at_validation[-1])


def test_best_weights_survive_an_early_stop(tmp_path):
    """Patience stops the run at its third validation without improvement, with the best weights."""
    trainer, watch = make(tmp_path)
    history = trainer.fit(*zoo.loaders())
    assert len(history) == 5
    assert trainer.early_stopper.trial_counter == 3
    assert "no improvement in 3 validations" in history.stop_reason
    assert_best(trainer, watch, tmp_path)


def test_best_weights_are_those_of_real_training(tmp_path):
    """The best weights are those of the largest recorded AUC, and trainer.evaluate gives it again."""
    watch = zoo.Watch()
    trainer = zoo.trainer(n_epoch=6, model_path=tmp_path, callbacks=[watch], val_every=2)
    train, val = zoo.loaders()
    history = trainer.fit(train, val)
    best = history["auc"].index(max(history["auc"]))
    assert zoo.same(trainer.model.state_dict(), watch.at_validation[best])
    assert trainer.evaluate(trainer.model, val) == history["auc"][best] == history.best["auc"]


def test_best_weights_survive_a_requested_stop(tmp_path):
    """request_stop ends the run after the present step, with the first reason."""

    class Second(StopsAt):
        def on_batch_end(self, trainer):
            if trainer.state.step == self.step:
                trainer.request_stop("too late")

    trainer, watch = make(tmp_path, callbacks=[StopsAt(11), Second(11)])
    history = trainer.fit(*zoo.loaders())
    assert (history.stop_reason, trainer.state.step, len(history)) == ("enough", 11, 2)
    assert_best(trainer, watch, tmp_path)


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize(
    ("hook", "n"),
    [
        ("on_epoch_begin", 3),
        ("on_batch_begin", 15),
        ("on_backward_end", 15),
        ("on_batch_end", 15),
        ("on_validation_begin", 4),
        ("on_validation_batch_end", 11),
        ("on_validation_end", 2),
        ("on_validation_end", 4),
        ("on_new_best", 2),
        ("on_record", 2),
        ("on_epoch_end", 2),
    ],
)
def test_best_weights_survive_a_callback_that_raises(tmp_path, hook, n, error):
    """An exception in any hook is raised by fit, and the model and model.pth hold the best weights."""
    trainer, watch = make(tmp_path, callbacks=[raises_at(hook, n, error)])
    with pytest.raises(type(error)) as raised:
        trainer.fit(*zoo.loaders())
    assert raised.value is error
    assert trainer.state.exception is None  # set for the hooks only: afterwards it would keep the frames of the failed step alive
    assert_best(trainer, watch, tmp_path)


def test_an_exception_names_its_callback(tmp_path, caplog):
    """An error of a hook has a note that names the callback and the hook, and the log names them too."""

    class Clumsy(Callback):
        def on_batch_end(self, trainer):
            raise ValueError("broken")

    trainer, _ = make(tmp_path, callbacks=[Clumsy()])
    with pytest.raises(ValueError, match="broken") as raised:
        trainer.fit(*zoo.loaders())
    assert getattr(raised.value, "__notes__", None) == ["raised by the callback Clumsy.on_batch_end"]
    assert "callback Clumsy.on_batch_end raised ValueError: broken" in caplog.text


@pytest.mark.parametrize("error", [OSError("disk gone"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize(("part", "n"), [("train", 10), ("val", 8)])
def test_best_weights_survive_a_loader_that_raises(tmp_path, part, n, error):
    """An exception in the training or validation loader keeps the best weights."""
    trainer, watch = make(tmp_path)
    loaders = dict(zip(("train", "val"), zoo.loaders(), strict=True))
    loaders[part] = RaisingLoader(loaders[part], n, error)
    with pytest.raises(type(error)):
        trainer.fit(*loaders.values())
    assert len(trainer.history) == 2
    assert_best(trainer, watch, tmp_path)


@pytest.mark.parametrize("part", ["forward", "evaluate_fn"])
def test_best_weights_survive_a_model_or_metric_that_raises(tmp_path, part):
    """An exception in the model's forward or in the metric keeps the best weights."""
    trainer, watch = make(tmp_path, [0.5, 0.7])
    trainer.n_epoch = 5  # there are two values: the third validation raises an IndexError
    if part == "forward":
        n_call = iter(range(100))

        def fail(*_):
            if next(n_call) == 17:
                raise IndexError

        trainer.model.register_forward_pre_hook(fail)
    with pytest.raises(IndexError):
        trainer.fit(*zoo.loaders())
    assert_best(trainer, watch, tmp_path)


@pytest.mark.parametrize("n", [1, 2], ids=["the first", "the second"])
def test_an_interrupt_within_the_copy_of_the_best_weights_loses_nothing(tmp_path, monkeypatch, n):
    """An interrupt within the copy of better weights ends the run with these better weights, in the model and in model.pth."""
    real, calls = early_stopper.copy_weights, []

    def half_a_copy(weights, into=None):
        calls.append(weights)
        if len(calls) == n:
            name = next(iter(weights))
            real({name: torch.full_like(weights[name], math.nan)}, into)
            raise KeyboardInterrupt
        return real(weights, into)

    monkeypatch.setattr(early_stopper, "copy_weights", half_a_copy)
    trainer, watch = make(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*zoo.loaders())
    assert len(trainer.history) == n
    assert trainer.history[-1]["is_best"]
    assert_best(trainer, watch, tmp_path)


@pytest.mark.parametrize("function", ["_torch_save", "sync_folder"])
def test_an_interrupt_within_a_save_loses_nothing(tmp_path, monkeypatch, function):
    """An interrupt while model.pth is written ends the run with the best weights in model.pth."""
    real, calls = getattr(storage, function), []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(storage, function, interrupt)
    trainer, watch = make(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*zoo.loaders())
    assert_best(trainer, watch, tmp_path)


def test_a_full_disk_keeps_the_older_file(tmp_path, monkeypatch):
    """Where model.pth cannot be written, the error names it, the model holds the best weights, and the old file is complete."""
    trainer, watch = make(tmp_path)
    real, calls = storage._torch_save, []

    def full(weights, file):
        calls.append(weights)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(weights, file)

    monkeypatch.setattr(storage, "_torch_save", full)
    with pytest.raises(OSError, match=r"No space left on device.*model\.pth"):
        trainer.fit(*zoo.loaders())
    assert zoo.same(trainer.model.state_dict(), watch.at_validation[1])
    assert zoo.same(torch.load(tmp_path / "saved" / "model.pth", weights_only=True), watch.at_validation[0])
    assert len(list((tmp_path / "saved").iterdir())) == 1


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.name == Trainer.__module__ and record.levelno == logging.WARNING]


@pytest.mark.parametrize("validate", [False, True], ids=["no validation", "never finite"])
def test_without_a_best_validation_the_last_weights_remain(tmp_path, caplog, validate):
    """Without validation, or without a finite value, the model and its file hold the last weights, with one warning."""
    trainer, watch = make(tmp_path, [math.nan, math.inf, -math.inf], earlystop_patience=9)
    train, val = zoo.loaders()
    history = trainer.fit(train, val if validate else None)
    assert len(history) == 3
    assert history.best is None
    assert trainer.early_stopper.best_weights is None
    assert zoo.same(trainer.model.state_dict(), watch.at_batch[-1])
    assert zoo.same(torch.load(tmp_path / "saved" / "model.pth", weights_only=True), watch.at_batch[-1])
    said = "no validation had a finite metric" if validate else "there was no validation data"
    assert warnings_of(caplog) == [f"{said}: the model keeps its last weights"]


def test_nan_counts_as_no_improvement(tmp_path):
    """Patience counts a validation whose value is NaN."""
    trainer, _ = make(tmp_path, [math.nan] * 9, earlystop_patience=2)
    assert len(trainer.fit(*zoo.loaders())) == 2


def test_a_run_interrupted_before_its_first_validation_keeps_its_last_weights(tmp_path, caplog):
    """Without a validation the weights of the last step remain and are saved."""
    trainer, watch = make(tmp_path, callbacks=[raises_at("on_batch_begin", 3, KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*zoo.loaders())
    assert zoo.same(trainer.model.state_dict(), watch.at_batch[-1])
    assert zoo.same(torch.load(tmp_path / "saved" / "model.pth", weights_only=True), watch.at_batch[-1])
    assert warnings_of(caplog) == ["there was no validation: the model keeps its last weights"]


def test_a_run_that_cannot_begin_changes_nothing(tmp_path):
    """Where a callback raises before the first step, no weight has changed and no file was written."""
    trainer, _ = make(tmp_path, callbacks=[EarlyStopper(3, monitor="unknown")])
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(ValueError, match="unknown"):
        trainer.fit(*zoo.loaders())
    assert zoo.same(trainer.model.state_dict(), before)
    assert not (tmp_path / "saved").exists()


def test_min_keeps_the_smallest(tmp_path):
    """With mode="min" the weights of the smallest value of an assigned function are the best."""
    trainer, watch = make(tmp_path, [0.5, 0.3, 0.4], mode="min")
    trainer.fit(*zoo.loaders())
    assert trainer.early_stopper.best_auc == 0.3
    assert zoo.same(trainer.model.state_dict(), watch.at_validation[1])
    assert trainer.history.best["metric"] == 0.3


def test_a_copy_that_always_fails_raises_its_error(tmp_path, monkeypatch):
    """Where no copy of the best weights has memory, that error is raised, and model.pth holds the best weights before."""
    real, calls = early_stopper.copy_weights, []

    def no_memory(weights, into=None):
        calls.append(0)
        if len(calls) > 1:
            raise MemoryError("no memory for the copy")
        return real(weights, into)

    monkeypatch.setattr(early_stopper, "copy_weights", no_memory)
    trainer, watch = make(tmp_path)
    with pytest.raises(MemoryError, match="no memory for the copy"):
        trainer.fit(*zoo.loaders())
    assert zoo.same(torch.load(tmp_path / "saved" / "model.pth", weights_only=True), watch.at_validation[0])
