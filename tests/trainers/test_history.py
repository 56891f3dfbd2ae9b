"""The history of a run."""

from __future__ import annotations

import json
import math

import pytest
import zoo

from torch_rechub.basic.callback import Callback
from torch_rechub.trainers import History


def test_history_has_one_record_a_validation():
    """A record holds the position, the loss, the rate, the metrics and the stopper's decision."""
    trainer = zoo.trainer(n_epoch=2, val_every=2)
    history = trainer.fit(*zoo.loaders())
    assert history is trainer.history
    assert (history["epoch"], history["step"], history["rows"]) == ([1, 1, 2, 2], [2, 4, 6, 8], [32, 64, 96, 128])
    keys = {"epoch", "step", "rows", "seconds", "loss", "lr", "auc", "logloss", "is_best", "trial_counter", "verdict"}
    assert all(record.keys() == keys for record in history)
    assert history["lr"] == [0.05] * 4
    assert history["seconds"] == sorted(history["seconds"])
    assert [decision.value for decision in trainer.early_stopper.decisions] == history["auc"]


def test_history_loss_is_the_mean_over_rows_since_the_last_record():
    """At a learning rate of 0 each record's loss is the mean over its rows, a smaller last batch weighted by its rows."""
    train, val = zoo.loaders(n=40)
    trainer = zoo.trainer(zoo.plain_model(), optimizer_params={"lr": 0.0}, val_every=2, n_epoch=1)
    history = trainer.fit(train, val)
    train.set_epoch(0)
    batches = list(train)
    losses = [trainer.model(batch).item() for batch in batches]
    assert [len(y) for _, y in batches] == [16, 16, 8]
    assert history["loss"] == pytest.approx([(losses[0] + losses[1]) / 2, losses[2]], abs=1e-6)


def test_history_without_validation_has_one_record_an_epoch():
    """Without validation a record holds the loss and the rate, and there is no best record."""
    history = zoo.trainer(n_epoch=3).fit(zoo.loaders()[0])
    assert history["epoch"] == [1, 2, 3]
    assert history.best is None
    assert "auc" not in history[0]


def test_history_reads_by_index_and_by_name():
    """An index gives a record and a name a column; an unknown name is an error that lists the names."""
    history = History("auc")
    assert history["auc"] == []
    history.append({"step": 1, "auc": 0.5})
    history.append({"step": 2})
    assert history[-1] == {"step": 2}
    assert history["auc"] == [0.5, None]
    with pytest.raises(KeyError, match=r"acu.*step"):
        history["acu"]


def test_history_converts_to_a_frame_and_a_file(tmp_path):
    """Records become a pandas DataFrame and JSON lines, NaN included."""
    history = zoo.trainer(n_epoch=2).fit(*zoo.loaders())
    history.append({"auc": math.nan})
    assert list(history.to_frame()["auc"])[:2] == history["auc"][:2]
    history.save(tmp_path / "history.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines[:2] == list(history)[:2]
    assert math.isnan(lines[2]["auc"])


def test_history_plots_every_metric(tmp_path):
    """There is one panel a metric, the monitored one first, then loss and changed rate, with the best validation and the stop."""
    history = _stopped_history()
    figure = history.plot(tmp_path / "curves.svg")
    assert [axes.get_title() for axes in figure.axes] == ["validation auc", "validation logloss", "training loss", "learning rate"]
    assert (tmp_path / "curves.svg").stat().st_size > 1000
    assert "patience" in figure.get_suptitle()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["best auc: 0.7000, epoch 2"]
    with pytest.raises(ValueError, match="empty"):
        History().plot()


def _stopped_history():
    history = History("auc")
    for i, auc in enumerate([0.5, 0.7, 0.6]):
        facts = {"epoch": i + 1, "step": 4 * i, "loss": 0.5, "lr": 0.1**i, "logloss": 0.6, "auc": auc}
        history.append({**facts, "is_best": i == 1})
    history.stop_reason = "patience"
    return history


class BestFlags(Callback):
    """Records ``state.is_best`` at each validation's end, and the steps at which ``on_new_best`` is called."""

    def __init__(self):
        self.flags, self.new_best_at = [], []

    def on_new_best(self, trainer):
        self.new_best_at.append(trainer.state.step)

    def on_validation_end(self, trainer):
        self.flags.append(trainer.state.is_best)


def test_a_worse_validation_after_the_best_is_not_best():
    """After a best validation a worse or equal one has is_best False in the state and in the record, without on_new_best."""
    flags = BestFlags()
    trainer = zoo.trainer(callbacks=[flags], n_epoch=4)
    trainer.evaluate_fn = zoo.Scripted([0.5, 0.4, 0.6, 0.6])
    history = trainer.fit(*zoo.loaders())
    assert flags.flags == history["is_best"] == [True, False, True, False]
    assert flags.new_best_at == [4, 12]
