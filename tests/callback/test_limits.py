"""TimeLimit and MemoryWatch end a run before the limit, in a state that can be resumed."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import zoo

from torch_rechub.basic.callback import Callback, MemoryWatch, TimeLimit, memory_watch, time_limit


class Clock(Callback):
    """A clock that each step and each validation move by a fixed time."""

    def __init__(self, monkeypatch, step, validation=0.0):
        self.now, self.step, self.validation = 1000.0, step, validation
        monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=lambda: self.now))

    def on_backward_end(self, trainer):
        self.now += self.step

    def on_validation_batch_end(self, trainer):
        self.now += self.validation


def test_time_limit_leaves_the_margin(monkeypatch):
    """With 10 s a step, 100 s and a margin of 35 s, the run ends where one more step would leave less than 35 s."""
    trainer = zoo.trainer(callbacks=[Clock(monkeypatch, 10.0), TimeLimit(100, margin=35)], n_epoch=9)
    history = trainer.fit(zoo.loaders()[0])
    assert trainer.state.step == 6
    assert history.stop_reason == "the time limit of 1m40s is near"


@pytest.mark.parametrize("margin", [0, 30])
@pytest.mark.parametrize("val_every", [1, 2, 3])
def test_time_limit_begins_no_validation_that_would_exceed_it(monkeypatch, margin, val_every):
    """With slow validations the run ends within the limit less the margin, plus at most one batch of a validation."""
    clock = Clock(monkeypatch, 1.0, validation=7.0)
    trainer = zoo.trainer(callbacks=[clock, TimeLimit("2m", margin=margin)], n_epoch=50, val_every=val_every, earlystop_patience=None)
    trainer.fit(*zoo.loaders())
    assert 120 - margin - 30 < clock.now - 1000 <= 120 - margin + 7


@pytest.mark.parametrize(("total", "steps"), [(False, [9, 16]), (True, [9, 10])])
def test_time_limit_starts_anew_in_a_resumed_run_unless_total(monkeypatch, tmp_path, total, steps):
    """A resumed run has the whole limit again; with total=True the earlier parts count, and it ends after one step more."""
    stops = []
    for _ in steps:
        limits = [Clock(monkeypatch, 10.0), TimeLimit(100, margin=5, total=total)]
        trainer = zoo.trainer(callbacks=limits, n_epoch=4, model_path=tmp_path)
        trainer.fit(zoo.loaders()[0], resume="auto")
        stops.append(trainer.state.step)
    assert stops == steps


@pytest.mark.parametrize(("given", "seconds"), [("2h30m", 9000), ("90s", 90), ("1d 12h", 129600), ("1.5h", 5400), (45, 45), (0.5, 0.5)])
def test_time_limit_parses_seconds_and_words(given, seconds):
    """The limit is a number of seconds, or days, hours, minutes and seconds in words."""
    assert TimeLimit(given, margin=0).limit == seconds


@pytest.mark.parametrize("given", ["", "soon", "2h30", "h", -1, float("nan"), float("inf"), True, 20])
def test_time_limit_refuses_bad_times(given):
    """Words that are no time, and a time of at most the margin of 30 s, are errors."""
    with pytest.raises(ValueError, match="TimeLimit"):
        TimeLimit(given)


def test_memory_watch_ends_the_run_at_its_limit(monkeypatch):
    """The first reading at or above the limit ends the run, and memory is read every so many steps only."""
    readings = iter([10, 50, 99, 100, 1])
    monkeypatch.setattr(memory_watch, "memory_in_use", lambda: next(readings) * 10**9)
    trainer = zoo.trainer(callbacks=[MemoryWatch(100 * 10**9, every=2)], n_epoch=9)
    history = trainer.fit(zoo.loaders()[0].__class__(zoo.loaders()[0].table, 8))
    assert trainer.state.step == 8
    assert history.stop_reason == "memory limit: 100.00 GB in use, 100.00 GB allowed"


def test_memory_watch_records_memory_and_warns_of_growth(monkeypatch, caplog):
    """Each record holds the memory; growth at n_growth validations in a row gives a warning."""
    readings = iter([10.0, 10.05, 11.0, 12.0, 13.0])
    monkeypatch.setattr(memory_watch, "memory_in_use", lambda: int(next(readings) * 1e9))
    trainer = zoo.trainer(callbacks=[MemoryWatch(10**15, n_growth=3)], n_epoch=5, earlystop_patience=None)
    with caplog.at_level(logging.INFO):
        history = trainer.fit(*zoo.loaders())
    assert history["memory_gb"] == [10.0, 10.05, 11.0, 12.0, 13.0]
    warned = [record.message for record in caplog.records if record.name == memory_watch.__name__ and record.levelno == logging.WARNING]
    assert warned == ["memory 13.000 GB, +1.000 GB since the last validation; it has grown at 3 validations in a row"]


def test_memory_in_use_counts_this_process():
    """Writing a block of 64 MB increases the memory in use."""
    before = memory_watch.memory_in_use()
    block = bytearray(b"x" * (64 << 20))
    assert memory_watch.memory_in_use() - before > 48 << 20
    assert len(block) <= memory_watch.memory_of_machine()


def test_memory_limit_as_a_float_is_a_fraction():
    """A float is a fraction of the memory that the process may use, and an integer is bytes."""
    assert MemoryWatch(0.5).bytes == int(0.5 * memory_watch.memory_of_machine())
    assert MemoryWatch(2**40).bytes == 2**40


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 1.5}, {"limit": True}, {"gpu_limit": -1}, {"every": 0}, {"n_growth": 0}])
def test_memory_watch_refuses_bad_arguments(options):
    """Invalid arguments are errors at construction."""
    with pytest.raises(ValueError, match="MemoryWatch"):
        MemoryWatch(**options)
