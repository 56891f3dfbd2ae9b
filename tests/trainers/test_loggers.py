"""What trackers are told, under the names of the existing package."""

from __future__ import annotations

import json
import math

import pytest
import zoo

from torch_rechub.basic.tracking import BaseLogger, JsonLinesLogger


class Fake(BaseLogger):
    def __init__(self):
        self.settings, self.metrics, self.finished = [], [], 0

    def log_hyperparams(self, params):
        self.settings.append(params)

    def log_metrics(self, metrics, step=None):
        self.metrics.append((step, metrics))

    def finish(self):
        self.finished += 1


def test_a_logger_is_told_the_settings_the_checks_and_the_end():
    """log_hyperparams once, log_metrics at each check with train/loss, learning_rate and val/<metric>, finish once."""
    fake = Fake()
    history = zoo.trainer(model_logger=fake, val_every=2, n_epoch=2).fit(*zoo.loaders())
    assert len(fake.settings) == fake.finished == 1
    assert {"n_epoch": 2, "learning_rate": 0.05, "loss_mode": True}.items() <= fake.settings[0].items()
    assert [step for step, _ in fake.metrics] == [0, 1, 2, 3]
    for (_, told), record in zip(fake.metrics, history, strict=True):
        expected = {"train/loss": record["loss"], "learning_rate": record["lr"]}
        assert told == {**expected, "val/auc": record["auc"], "val/logloss": record["logloss"]}


def test_loggers_may_be_several_and_hear_of_epochs_without_validation(tmp_path):
    """A list of loggers all hear the same; without validation there is one record an epoch."""
    fake, file = Fake(), tmp_path / "log.jsonl"
    history = zoo.trainer(model_logger=[fake, JsonLinesLogger(file)], n_epoch=2).fit(zoo.loaders()[0])
    assert fake.metrics == [(i, {"train/loss": r["loss"], "learning_rate": r["lr"]}) for i, r in enumerate(history)]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["settings"]["model"] == "DeepFM"
    assert lines[1:] == [{"step": step, **told} for step, told in fake.metrics]


def test_loggers_are_told_of_an_epoch_that_was_stopped():
    """Without validation a run stopped within an epoch leaves a record of what it did, told once."""

    class Stops(zoo.Watch):
        def on_batch_end(self, trainer):
            if trainer.state.step == 6:
                trainer.request_stop("enough")

    fake = Fake()
    history = zoo.trainer(model_logger=fake, callbacks=[Stops()], progress=True).fit(zoo.loaders()[0])
    assert history["step"] == [4, 6]
    assert len(fake.metrics) == 2


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_logger_finishes_however_the_run_ends(error):
    """finish is called also when a run breaks off, and a logger that fails to finish does not keep the others from it."""

    class Broken(Fake):
        def finish(self):
            super().finish()
            raise OSError("no network")

    class Raises(zoo.Watch):
        def on_batch_end(self, trainer):
            raise error

    fakes = [Fake(), Broken(), Fake()]
    trainer = zoo.trainer(model_logger=fakes, callbacks=[Raises()])
    with pytest.raises((type(error), OSError)):
        trainer.fit(*zoo.loaders())
    assert [fake.finished for fake in fakes] == [1, 1, 1]


def test_nan_is_told_as_it_is(tmp_path):
    """A metric that is NaN is logged as NaN, which Python's json reads back."""
    trainer = zoo.trainer(model_logger=JsonLinesLogger(tmp_path / "log"), n_epoch=1)
    trainer.evaluate_fn = zoo.Scripted([math.nan])
    trainer.fit(*zoo.loaders())
    assert math.isnan(json.loads((tmp_path / "log").read_text().splitlines()[1])["val/metric"])
