"""What a person sees while a model trains."""

from __future__ import annotations

import io
import sys

import pytest
import zoo

from torch_rechub.basic.callback import Progress
from torch_rechub.basic.callback.progress import describe_record


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_file_gets_one_line_a_check_and_the_reason_of_the_stop(capsys):
    """Where nobody can see a bar there are the records as lines, on stderr, and nothing on stdout."""
    trainer = zoo.trainer(progress=True, earlystop_patience=1, val_every=2)
    trainer.evaluate_fn = zoo.Scripted([0.7, 0.6])
    history = trainer.fit(*zoo.loaders())
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [*(describe_record(record) for record in history), f"stopped: {history.stop_reason}"]
    assert "metric 0.7000" in shown.err.splitlines()[0]
    assert "(best so far)" in shown.err.splitlines()[0]


def test_a_terminal_gets_a_bar(monkeypatch):
    """In a terminal a bar counts the batches of each epoch."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    zoo.trainer(callbacks=[Progress(seconds=0.0)], n_epoch=2).fit(*zoo.loaders())
    assert "epoch 1/2" in screen.getvalue()
    assert "epoch 2/2" in screen.getvalue()
    assert "loss=" in screen.getvalue()


@pytest.mark.parametrize("val", [True, False])
def test_progress_lets_go_of_its_bar_however_the_run_ends(monkeypatch, val):
    """After an exception within an epoch the bar is closed, and the next run has a fresh one."""
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


def test_progress_can_be_left_out(capsys):
    """progress=False shows nothing at all."""
    zoo.trainer(progress=False, n_epoch=1).fit(*zoo.loaders())
    assert capsys.readouterr() == ("", "")
