"""The progress display of a run."""

from __future__ import annotations

import io
import re
import sys

import numba
import pytest
import zoo

from torch_rechub.basic.callback import Callback, Progress
from torch_rechub.basic.callback.progress import describe_record
from torch_rechub.kernels import numba_cpu


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_without_a_terminal_writes_lines(capsys):
    """Without a terminal, stderr gets one line a validation and the stop reason, and stdout nothing."""
    trainer = zoo.trainer(progress=True, earlystop_patience=1, val_every=2)
    trainer.evaluate_fn = zoo.Scripted([0.7, 0.6])
    history = trainer.fit(*zoo.loaders())
    shown = capsys.readouterr()
    assert shown.out == ""
    best = "best at step 2, epoch 1: metric 0.7000; weights restored"
    assert shown.err.splitlines() == [*(describe_record(record) for record in history), f"stopped: {history.stop_reason}", best]
    assert "metric 0.7000" in shown.err.splitlines()[0]
    assert "(best so far)" in shown.err.splitlines()[0]


def test_progress_in_a_terminal_is_a_bar(monkeypatch):
    """In a terminal a bar counts the batches of each epoch, and another one those of each validation."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    zoo.trainer(callbacks=[Progress(seconds=0.0)], n_epoch=2).fit(*zoo.loaders())
    assert "epoch 1/2" in screen.getvalue()
    assert "epoch 2/2" in screen.getvalue()
    assert "loss=" in screen.getvalue()
    assert re.search(rf"validation: +0%.*0/{len(zoo.loaders()[1])} ", screen.getvalue())


class CompilesAtFirstBatch(Callback):
    """Compiles a function of the kernels' module at each batch, as the row-wise optimizers do at their first step."""

    def on_batch_end(self, trainer):
        scope = {"__name__": numba_cpu.__name__}
        exec("def double(x): return 2 * x", scope)
        assert numba_cpu._compiled(scope["double"])(1.5) == 3.0


def test_progress_says_once_that_kernels_are_compiled(capsys, monkeypatch):
    """At the first compilation of a run's kernels one line says so; without a progress display and for other functions there is none."""
    monkeypatch.setattr(numba_cpu.announcement, "is_made", False)
    numba.njit(lambda x: x + 1)(1)
    zoo.trainer(progress=False, n_epoch=1, callbacks=[CompilesAtFirstBatch()]).fit(*zoo.loaders())
    assert "compiling" not in capsys.readouterr().err
    monkeypatch.setattr(numba_cpu.announcement, "is_made", False)
    zoo.trainer(progress=True, n_epoch=1, callbacks=[CompilesAtFirstBatch()]).fit(*zoo.loaders())
    assert capsys.readouterr().err.count("compiling kernels") == 1


@pytest.mark.parametrize("val", [True, False])
def test_progress_closes_its_bar_after_an_exception(monkeypatch, val):
    """After an exception within an epoch the bar is closed, and the next run has a new one."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    train, validation = zoo.loaders()
    progress = Progress()
    trainer = zoo.trainer(callbacks=[progress], n_epoch=1)
    batches = list(train)
    with pytest.raises(TypeError):
        trainer.fit([*batches, 7], validation if val else None)
    assert progress._bar is None
    assert len(trainer.fit(batches, validation if val else None)) == 1
    assert progress._bar is None


def test_progress_false_shows_nothing(capsys):
    """progress=False shows nothing."""
    zoo.trainer(progress=False, n_epoch=1).fit(*zoo.loaders())
    assert capsys.readouterr() == ("", "")
