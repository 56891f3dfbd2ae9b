"""What a run does at its borders: phases, requests before the first step, a second fit, what is kept in memory."""

from __future__ import annotations

import gc
import json
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback, Checkpoint, EarlyStopper, LearningRate
from torch_rechub.basic.callback.early_stopping import StopReason
from torch_rechub.storage import SaveFolder


class Phases(Callback):
    """Writes down what is known at each hook of a validation, an epoch and the end."""

    def __init__(self):
        self.seen, self.weights = [], {}

    def on_batch_begin(self, trainer):
        self.seen.append(("batch", len(trainer.state.current_batch.y)))

    def on_new_best(self, trainer):
        self.seen.append(("new best", trainer.state.is_best, trainer.state.phase))
        self.weights["best"] = zoo.copy_of(trainer.model.state_dict())

    def on_validation_end(self, trainer):
        self.seen.append(("validation", trainer.state.is_best, trainer.history[-1]["is_best"]))

    def on_record(self, trainer):
        self.seen.append(("record", "is_best" in trainer.history[-1]))

    def on_epoch_end(self, trainer):
        self.seen.append(("epoch",))

    def on_save(self, trainer):
        self.seen.append(("save", trainer.state.phase))

    def on_fit_end(self, trainer):
        self.weights["end"] = zoo.copy_of(trainer.model.state_dict())


def test_the_phases_of_a_validation(tmp_path):
    """Decide, on_new_best, on_validation_end with is_best known, on_record, on_epoch_end, one save; on_fit_end sees the best weights."""
    phases = Phases()
    trainer = zoo.trainer(callbacks=[phases], n_epoch=2, model_path=tmp_path)
    trainer.evaluate_fn = zoo.Scripted([0.6, 0.5])
    trainer.fit(*zoo.loaders(batch_size=64), resume="auto")
    best = [("batch", 64), ("new best", True, "decide"), ("validation", True, True), ("record", True), ("epoch",), ("save", "save")]
    worse = [("batch", 64), ("validation", False, False), ("record", True), ("epoch",), ("save", "save")]
    assert phases.seen == best + worse
    assert zoo.same(phases.weights["end"], phases.weights["best"])
    assert len(SaveFolder(tmp_path / "resume").names()) == 1


def test_model_pth_is_there_when_a_users_on_validation_end_runs(tmp_path):
    """The best weights are on disk before on_validation_end."""
    there = []

    class Looks(Callback):
        def on_validation_end(self, trainer):
            there.append(zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), trainer.model.state_dict()))

    zoo.trainer(callbacks=[Looks()], n_epoch=1, model_path=tmp_path).fit(*zoo.loaders())
    assert there == [True]


class Stops(Callback):
    """Requests a stop in one hook."""

    def __init__(self, hook):
        setattr(type(self), hook, lambda self, trainer: trainer.request_stop("not today"))


def test_a_stop_before_the_first_step_trains_nothing(tmp_path):
    """request_stop in on_fit_begin trains no step, validates nothing, and writes no model.pth."""
    stops = type("StopsAtBegin", (Stops,), {})("on_fit_begin")
    trainer = zoo.trainer(callbacks=[stops], model_path=tmp_path)
    before = zoo.copy_of(trainer.model.state_dict())
    history = trainer.fit(*zoo.loaders())
    assert (trainer.state.step, len(history), history.stop_reason) == (0, 0, "not today")
    assert zoo.same(trainer.model.state_dict(), before)
    assert not (tmp_path / "model.pth").exists()


def test_a_stop_at_the_begin_of_an_epoch_trains_no_batch_of_it():
    """request_stop in on_epoch_begin ends the run before the epoch's first batch."""
    stops = type("StopsAtEpoch", (Stops,), {})("on_epoch_begin")
    trainer = zoo.trainer(callbacks=[stops])
    history = trainer.fit(*zoo.loaders())
    assert (trainer.state.step, len(history), history.stop_reason) == (0, 0, "not today")


def test_a_fit_within_a_fit_is_an_error():
    """A callback that calls fit of its own trainer gets an error that says so."""

    class FitsAgain(Callback):
        def on_epoch_end(self, trainer):
            trainer.fit(*zoo.loaders())

    with pytest.raises(RuntimeError, match="fit was called within a fit of the same trainer"):
        zoo.trainer(callbacks=[FitsAgain()]).fit(*zoo.loaders())


def test_a_second_fit_with_resume_auto_trains_anew(tmp_path, caplog):
    """Where the latest run of this trainer has ended, resume="auto" trains; a fresh trainer returns at once."""
    caplog.set_level("INFO")
    trainer = zoo.trainer(model_path=tmp_path, n_epoch=1)
    trainer.fit(*zoo.loaders(), resume="auto")
    before = zoo.copy_of(trainer.model.state_dict())
    trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.state.step == 4
    assert not trainer.resumed
    assert not zoo.same(trainer.model.state_dict(), before)
    assert "resume='auto' trains anew" in caplog.text
    fresh = zoo.trainer(model_path=tmp_path, n_epoch=1)
    fresh.fit(*zoo.loaders(), resume="auto")
    assert fresh.resumed
    assert len(fresh.history) == 1


def test_a_run_that_was_paused_is_resumed_by_the_same_trainer(tmp_path):
    """After a pause, a second fit(resume="auto") of the same trainer goes on where it was."""

    class Pauses(Callback):
        part_of_run = False

        def on_batch_end(self, trainer):
            if trainer.state.step == 2 and not trainer.resumed:
                trainer.request_pause("later")

    trainer = zoo.trainer(model_path=tmp_path, callbacks=[Pauses()], n_epoch=1)
    assert trainer.fit(*zoo.loaders(), resume="auto").stop_reason == "later"
    assert trainer.state.paused
    history = trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.resumed
    assert (history.stop_reason, trainer.state.step) == (None, 4)


def test_nothing_of_a_finished_run_stays_in_memory():
    """After fit neither loaders nor batches are held by the trainer; history, best weights and optimizer are."""
    train, val = zoo.loaders()
    trainer = zoo.trainer(callbacks=[EarlyStopper(5, min_delta="significant")])
    history = trainer.fit(train, val)
    tables = [weakref.ref(loader.table) for loader in (train, val)]
    batch = trainer.state.current_batch, trainer.state.loss, trainer.state.predictions
    del train, val
    gc.collect()
    assert [table() for table in tables] == [None, None]
    assert batch == (None, None, None)
    assert trainer.history is history
    assert trainer.early_stopper.best_weights


@pytest.mark.parametrize("error", [ValueError("broken"), ZeroDivisionError()])
def test_the_report_of_a_run_that_failed_says_by_what(error, tmp_path):
    """trainer.report after an exception shows that the run failed, and the error."""

    class Fails(Callback):
        def on_epoch_end(self, trainer):
            raise error

    trainer = zoo.trainer(callbacks=[Fails()])
    with pytest.raises(type(error)):
        trainer.fit(*zoo.loaders())
    page = trainer.report(tmp_path / "report.html").read_text()
    assert '<span class="pill failed">' in page
    assert type(error).__name__ in page


def test_the_k_best_of_an_earlier_run_are_gone_after_a_nan(tmp_path):
    """A run whose first value is NaN does not keep an earlier run's weights among its best."""
    for values in ([0.9, 0.8], [math.nan, 0.3]):
        trainer = zoo.trainer(model_path=tmp_path, n_epoch=2, callbacks=[Checkpoint(keep_best=3)])
        trainer.evaluate_fn = zoo.Scripted(values)
        trainer.fit(*zoo.loaders())
    listed = json.loads((tmp_path / "best" / "best.json").read_text())
    assert [entry["value"] for entry in listed] == [0.3]
    assert {path.name for path in (tmp_path / "best").glob("*.pth")} == {entry["file"] for entry in listed}


def test_resume_takes_any_path(tmp_path):
    """resume= may be a string, a Path or another os.PathLike."""

    class Own:
        def __fspath__(self):
            return str(tmp_path / "a")

    zoo.trainer(model_path=tmp_path / "a", n_epoch=1).fit(*zoo.loaders(), resume="auto")
    for path in (str(tmp_path / "a"), Path(tmp_path / "a"), Own()):
        trainer = zoo.trainer(model_path=tmp_path / "b", n_epoch=1)
        trainer.fit(*zoo.loaders(), resume=path)
        assert trainer.resumed
    with pytest.raises(ValueError, match="resume must be None, 'auto' or a folder; got 3"):
        trainer.fit(*zoo.loaders(), resume=3)


def test_a_history_with_numpy_numbers_is_saved(tmp_path):
    """Numbers of numpy and torch that a callback adds to a record are written as Python's."""
    history = zoo.trainer(n_epoch=1).fit(*zoo.loaders())
    history.update_last(lift=np.float32(1.5), users=np.int64(3), each=np.arange(2), loss_again=torch.tensor(0.5))
    history.save(tmp_path / "history.jsonl")
    record = json.loads((tmp_path / "history.jsonl").read_text())
    assert (record["lift"], record["users"], record["each"], record["loss_again"]) == (1.5, 3, [0, 1], 0.5)


def test_a_schedule_has_one_position_however_it_is_given():
    """A LearningRate among the callbacks runs where the one made from scheduler_fn would."""
    options = {"scheduler_fn": torch.optim.lr_scheduler.StepLR, "scheduler_params": {"step_size": 1}}
    built_in = zoo.trainer(**options, callbacks=[zoo.Watch()])
    given = zoo.trainer(callbacks=[LearningRate(*options.values()), zoo.Watch()])
    assert [type(callback) for callback in built_in.callbacks] == [type(callback) for callback in given.callbacks]


@pytest.mark.parametrize("val_every", [None, 1])
def test_patience_in_epochs_counts_epochs_that_shrink(val_every):
    """With "1 epoch" a loader without a length stops after one epoch without improvement, also where the epochs get shorter."""
    batches = list(zoo.loaders()[0])

    class Shrinks(torch.utils.data.IterableDataset):
        epoch = 0

        def __iter__(self):
            self.epoch += 1
            return iter(batches[: 5 - self.epoch])

    trainer = zoo.trainer(callbacks=[EarlyStopper("1 epoch")], n_epoch=4, val_every=val_every)
    trainer.evaluate_fn = zoo.Scripted([0.1, 0.2, 0.3, 0.4] + [0.0] * 9 if val_every else [0.4, 0.0, 0.0, 0.0])
    history = trainer.fit(Shrinks(), zoo.loaders()[1])
    assert (history[-1]["epoch"], history[-1]["step"]) == (2, 7)
    assert trainer.early_stopper.reason in {StopReason.PATIENCE, StopReason.ONE_EPOCH_OVERFITTING}
