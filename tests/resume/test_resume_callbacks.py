"""Callbacks with a state: a run that was interrupted and resumed ends as an uninterrupted one, bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.callback import EMA, SWA, Callback, NonFiniteGuard


class Pause(Callback):
    part_of_run = False

    def __init__(self, step, in_validation):
        self.step, self.in_validation = step, in_validation

    def on_batch_end(self, trainer):
        if trainer.state.step == self.step and not self.in_validation:
            trainer.request_pause("here")

    def on_validation_batch_end(self, trainer):
        if trainer.state.step == self.step and self.in_validation:
            trainer.request_pause("here")


class Poison:
    """The binary cross-entropy, NaN at one call."""

    left = 0  # a class attribute, so that two runs have the same criterion

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
def test_a_paused_run_with_callbacks_resumes_bit_for_bit(name, pause, tmp_path):
    """Paused between two steps or within a validation, a run ends with the weights and the history of an uninterrupted one."""
    uninterrupted = fit(name, tmp_path / "uninterrupted")
    paused = fit(name, tmp_path / "parts", pause)
    assert paused.state.step == pause[0]
    trainer = fit(name, tmp_path / "parts", done=pause[0])
    assert zoo.same(trainer.model.state_dict(), uninterrupted.model.state_dict())
    files = [torch.load(tmp_path / folder / "model.pth", weights_only=True) for folder in ("uninterrupted", "parts")]
    assert zoo.same(*files)
    for record in (*trainer.history, *uninterrupted.history):
        del record["seconds"]
    assert trainer.history.records == uninterrupted.history.records
