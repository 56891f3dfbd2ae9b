"""TimeLimit and MemoryWatch: a run ends before the limit, where it can be gone on with."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import zoo

from torch_rechub.basic.callback import Callback, MemoryWatch, TimeLimit, memory_watch, time_limit


class Clock(Callback):
    """A clock that moves by so much a step and a check, and by nothing else."""

    def __init__(self, monkeypatch, step, check=0.0):
        self.now, self.step, self.check = 1000.0, step, check
        monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=lambda: self.now))

    def on_backward_end(self, trainer):
        self.now += self.step

    def on_validation_batch_end(self, trainer):
        self.now += self.check


def test_time_limit_leaves_the_margin(monkeypatch):
    """With 10 s a step, 100 s and a margin of 35 s, the run ends where one more step would leave less than 35 s."""
    trainer = zoo.trainer(callbacks=[Clock(monkeypatch, 10.0), TimeLimit(100, margin=35)], n_epoch=9)
    history = trainer.fit(zoo.loaders()[0])
    assert trainer.state.step == 6
    assert history.stop_reason == "the time limit of 1m40s is near"


@pytest.mark.parametrize("margin", [0, 30])
@pytest.mark.parametrize("val_every", [1, 2, 3])
def test_time_limit_never_begins_a_check_that_would_end_too_late(monkeypatch, margin, val_every):
    """A run with slow checks ends within the limit less the margin; a batch of a check that is then left comes on top."""
    clock = Clock(monkeypatch, 1.0, check=7.0)
    trainer = zoo.trainer(callbacks=[clock, TimeLimit("2m", margin=margin)], n_epoch=50, val_every=val_every, earlystop_patience=None)
    trainer.fit(*zoo.loaders())
    assert 120 - margin - 30 < clock.now - 1000 <= 120 - margin + 7


@pytest.mark.parametrize(("total", "steps"), [(False, [9, 16]), (True, [9, 10])])
def test_time_limit_of_a_resumed_run_is_a_new_one_unless_total(monkeypatch, tmp_path, total, steps):
    """A resumed run has the whole limit again; with total=True the parts before count, so it ends after one step more."""
    found = []
    for _ in steps:
        limits = [Clock(monkeypatch, 10.0), TimeLimit(100, margin=5, total=total)]
        trainer = zoo.trainer(callbacks=limits, n_epoch=4, model_path=tmp_path)
        trainer.fit(zoo.loaders()[0], resume="auto")
        found.append(trainer.state.step)
    assert found == steps


@pytest.mark.parametrize(("given", "seconds"), [("2h30m", 9000), ("90s", 90), ("1d 12h", 129600), ("1.5h", 5400), (45, 45), (0.5, 0.5)])
def test_time_is_read_as_people_write_it(given, seconds):
    """Seconds, or days, hours, minutes and seconds in words."""
    assert TimeLimit(given, margin=0).limit == seconds


@pytest.mark.parametrize("given", ["", "soon", "2h30", "h", -1, float("nan"), float("inf"), True, 20])
def test_time_that_cannot_be_read_is_refused(given):
    """What is no time, or none above the margin of 30 s, is an error."""
    with pytest.raises(ValueError, match="TimeLimit"):
        TimeLimit(given)


def test_memory_ends_the_run_at_its_limit(monkeypatch):
    """The first look at or above the limit ends the run; between looks nothing is read."""
    looks = iter([10, 50, 99, 100, 1])
    monkeypatch.setattr(memory_watch, "memory_in_use", lambda: next(looks) * 10**9)
    trainer = zoo.trainer(callbacks=[MemoryWatch(100 * 10**9, every=2)], n_epoch=9)
    history = trainer.fit(zoo.loaders()[0].__class__(zoo.loaders()[0].table, 8))
    assert trainer.state.step == 8
    assert history.stop_reason == "memory limit: 100.00 GB in use, 100.00 GB allowed"


def test_memory_is_recorded_and_its_growth_logged(monkeypatch, caplog):
    """Each record shows it; growth at n_growth checks in a row is a warning."""
    looks = iter([10.0, 10.05, 11.0, 12.0, 13.0])
    monkeypatch.setattr(memory_watch, "memory_in_use", lambda: int(next(looks) * 1e9))
    trainer = zoo.trainer(callbacks=[MemoryWatch(10**15, n_growth=3)], n_epoch=5, earlystop_patience=None)
    with caplog.at_level(logging.INFO):
        history = trainer.fit(*zoo.loaders())
    assert history["memory_gb"] == [10.0, 10.05, 11.0, 12.0, 13.0]
    warned = [record.message for record in caplog.records if record.name == memory_watch.__name__ and record.levelno == logging.WARNING]
    assert warned == ["memory 13.000 GB, +1.000 GB since the last validation; it has grown at 3 validations in a row"]


def test_memory_in_use_is_that_of_this_process():
    """A block of 64 MB that is written shows."""
    before = memory_watch.memory_in_use()
    block = bytearray(b"x" * (64 << 20))
    assert memory_watch.memory_in_use() - before > 48 << 20
    assert len(block) <= memory_watch.memory_of_machine()


def test_a_part_is_of_what_the_process_may_use():
    """A float is a part, an integer is bytes."""
    assert MemoryWatch(0.5).bytes == int(0.5 * memory_watch.memory_of_machine())
    assert MemoryWatch(2**40).bytes == 2**40


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 1.5}, {"limit": True}, {"gpu_limit": -1}, {"every": 0}, {"n_growth": 0}])
def test_memory_limits_that_are_none_are_refused(options):
    """Wrong arguments are errors at once."""
    with pytest.raises(ValueError, match="MemoryWatch"):
        MemoryWatch(**options)
