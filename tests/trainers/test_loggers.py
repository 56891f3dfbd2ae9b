"""The calls of loggers, with the names of the existing package."""

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


def test_a_logger_gets_settings_validations_and_the_end():
    """log_hyperparams is called once, log_metrics at each validation with all values at its optimizer step, and finish once."""
    fake = Fake()
    history = zoo.trainer(model_logger=fake, val_every=2, n_epoch=2).fit(*zoo.loaders())
    assert len(fake.settings) == fake.finished == 1
    assert {"n_epoch": 2, "learning_rate": 0.05, "loss_mode": True}.items() <= fake.settings[0].items()
    assert [step for step, _ in fake.metrics] == history["step"] == [2, 4, 6, 8]
    for (_, logged), record in zip(fake.metrics, history, strict=True):
        expected = {"train/loss": record["loss"], "learning_rate": record["lr"], "epoch": record["epoch"]}
        assert logged == {**expected, "val/auc": record["auc"], "val/logloss": record["logloss"]}


def test_several_loggers_get_one_record_an_epoch_without_validation(tmp_path):
    """All loggers of a list get the same calls, one record an epoch without validation."""
    fake, file = Fake(), tmp_path / "log.jsonl"
    history = zoo.trainer(model_logger=[fake, JsonLinesLogger(file)], n_epoch=2).fit(zoo.loaders()[0])
    assert fake.metrics == [(r["step"], {"train/loss": r["loss"], "learning_rate": r["lr"], "epoch": r["epoch"]}) for r in history]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["settings"]["model"] == "DeepFM"
    assert lines[1:] == [{"step": step, **logged} for step, logged in fake.metrics]


def test_loggers_get_the_record_of_a_stopped_epoch():
    """Without validation a run that is stopped within an epoch logs one record of it."""

    class Stops(zoo.Watch):
        def on_batch_end(self, trainer):
            if trainer.state.step == 6:
                trainer.request_stop("enough")

    fake = Fake()
    history = zoo.trainer(model_logger=fake, callbacks=[Stops()], progress=True).fit(zoo.loaders()[0])
    assert history["step"] == [4, 6]
    assert len(fake.metrics) == 2


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_logger_always_finishes(error):
    """finish is called after an exception, and for all loggers where one of them raises in finish."""

    class RaisesInFinish(Fake):
        def finish(self):
            super().finish()
            raise OSError("no network")

    class Raises(zoo.Watch):
        def on_batch_end(self, trainer):
            raise error

    fakes = [Fake(), RaisesInFinish(), Fake()]
    trainer = zoo.trainer(model_logger=fakes, callbacks=[Raises()])
    with pytest.raises((type(error), OSError)):
        trainer.fit(*zoo.loaders())
    assert [fake.finished for fake in fakes] == [1, 1, 1]


def test_nan_is_logged_as_nan(tmp_path):
    """A metric that is NaN is logged as NaN, which Python's json reads again."""
    trainer = zoo.trainer(model_logger=JsonLinesLogger(tmp_path / "log"), n_epoch=1)
    trainer.evaluate_fn = zoo.Scripted([math.nan])
    trainer.fit(*zoo.loaders())
    assert math.isnan(json.loads((tmp_path / "log").read_text().splitlines()[1])["val/metric"])
