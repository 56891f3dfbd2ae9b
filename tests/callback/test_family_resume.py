"""Callbacks with a memory: a run that was broken off and gone on with ends as one that never was, bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.callback import EMA, SWA, Callback, NonFiniteGuard


class Pause(Callback):
    part_of_run = False

    def __init__(self, step, in_check):
        self.step, self.in_check = step, in_check

    def on_batch_end(self, trainer):
        if trainer.state.step == self.step and not self.in_check:
            trainer.request_pause("here")

    def on_validation_batch_end(self, trainer):
        if trainer.state.step == self.step and self.in_check:
            trainer.request_pause("here")


class Poison:
    """The binary cross-entropy, NaN at one call."""

    left = 0  # of the class: two runs have the same criterion

    def __repr__(self):
        return "Poison()"

    def __call__(self, scores, y):
        Poison.left -= 1
        return nn.functional.binary_cross_entropy(scores, y) * (math.nan if Poison.left == 0 else 1.0)


FAMILY = {
    "EMA": lambda: EMA(0.8),
    "SWA": lambda: SWA(1),
    "guard": lambda: NonFiniteGuard("rollback"),
    "late guard": lambda: NonFiniteGuard("rollback", late=True),
}


def fit(name, folder, pause=None, done=0):
    trainer = zoo.trainer(
        callbacks=[FAMILY[name](), *([Pause(*pause)] if pause else [])], n_epoch=4, val_every=2, model_path=folder, earlystop_patience=None
    )
    if "guard" in name:
        trainer.criterion, Poison.left = Poison(), 7 - done
    trainer.fit(*zoo.loaders(), resume="auto")
    return trainer


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("pause", [(1, False), (4, True), (5, False), (7, False), (8, False), (10, True)])
def test_a_run_broken_off_goes_on_as_if_never(name, pause, tmp_path):
    """Paused between two steps or within a check, the weights, the best ones and the history are those of an unbroken run."""
    whole = fit(name, tmp_path / "whole")
    paused = fit(name, tmp_path / "parts", pause)
    assert paused.state.step == pause[0]
    trainer = fit(name, tmp_path / "parts", done=pause[0])
    assert zoo.same(trainer.model.state_dict(), whole.model.state_dict())
    kept = [torch.load(tmp_path / folder / "model.pth", weights_only=True) for folder in ("whole", "parts")]
    assert zoo.same(*kept)
    for record in (*trainer.history, *whole.history):
        del record["seconds"]
    assert trainer.history.records == whole.history.records
