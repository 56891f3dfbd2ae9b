"""Interrupt a run, resume it in a fresh trainer, and compare every bit with an uninterrupted run."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
import zoo

from torch_rechub.basic.callback import Callback, Checkpoint
from torch_rechub.storage.tree import split_tree
from torch_rechub.trainers import CTRTrainer


class Interrupted(Exception):
    """The exception that ends a run as a kill would."""


class InterruptAt(Callback):
    """Raises within the step after ``step``, as a kill would end it there; ``SaveEvery`` has written a save before."""

    part_of_run = False

    def __init__(self, step: int) -> None:
        self.step = step

    def on_backward_end(self, trainer: Any) -> None:
        if trainer.state.step == self.step:
            raise Interrupted


class SaveEvery(Checkpoint):
    """Saves after each step, and leaves the folder as a kill would: nothing is written at the end."""

    def __init__(self, every: int = 1, **options: Any) -> None:
        super().__init__(every_n_steps=every, **options)
        self.killed = False

    def on_exception(self, trainer: Any) -> None:
        self.killed = isinstance(trainer.state.exception, Interrupted)

    def on_fit_end(self, trainer: Any) -> None:
        if not self.killed:
            super().on_fit_end(trainer)


def set_random_states(seed: int) -> None:
    """Set all random states, since another process would have others."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


class Recipe:
    """How to make the same run several times; ``loaders`` and ``make`` are called for each part of it."""

    def __init__(self, make: Any = None, loaders: Any = None, callbacks: Any = lambda: [], every: int = 1, **options: Any) -> None:
        self.make = zoo.model if make is None else make
        self.loaders = zoo.loaders if loaders is None else loaders
        self.callbacks, self.options, self.every = callbacks, options, every

    def start(self, folder: Any, resume: Any, *callbacks: Callback, seed: int = 1, **changes: Any) -> CTRTrainer:
        """Fit, and return the trainer; ``Interrupted`` is not caught."""
        set_random_states(seed)
        settings = {"n_epoch": 2, "progress": False, "optimizer_params": {"lr": 0.05}} | self.options | changes
        listed = [*callbacks, *self.callbacks(), SaveEvery(self.every)]
        trainer = CTRTrainer(self.make(), model_path=folder, callbacks=listed, **settings)
        set_random_states(seed + 1)
        trainer.fit(*self.loaders(), resume=resume)
        return trainer

    def interrupted_at(self, folder: Any, step: int) -> CTRTrainer:
        """The run that was interrupted within the step after ``step``, and resumed with other random states."""
        try:
            self.start(folder, None, InterruptAt(step))
        except Interrupted:
            pass
        else:
            raise AssertionError(f"the run has no step after step {step}")
        return self.start(folder, "auto", seed=1000 + step)


def result(trainer: CTRTrainer) -> dict[str, Any]:
    """All that a run leaves behind, except the time it took."""
    records = [{name: value for name, value in record.items() if name != "seconds"} for record in trainer.history]
    plain, tensors = split_tree(trainer.optimizer.state_dict())
    stopper = trainer.early_stopper
    return {
        "weights": zoo.copy_of(trainer.model.state_dict()),
        "buffers": zoo.copy_of(dict(trainer.objective.named_buffers())),
        "best": None if stopper.best_weights is None else zoo.copy_of(stopper.best_weights),
        "optimizer": tensors,
        "groups": repr(plain),
        "history": repr(records),
        "decisions": repr((stopper.decisions, stopper.reason, stopper.best_auc)),
        "stop_reason": trainer.history.stop_reason,
        "position": (trainer.state.epoch, trainer.state.step, trainer.state.rows, trainer.state.n_validation),
        "torch": torch.get_rng_state(),
        "numpy": repr(np.random.get_state()),
        "python": random.getstate(),
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any], what: Any = "") -> None:
    """All bits of two results are the same."""
    for name, value in expected.items():
        if isinstance(value, dict):
            differing = [key for key in value if key not in found[name] or not torch.equal(found[name][key], value[key])]
            assert found[name].keys() == value.keys(), (what, name)
            assert not differing, (what, name, differing)
        elif isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), (what, name)
        else:
            assert found[name] == value, (what, name)


def assert_resumes(recipe: Recipe, folder: Any, steps: Any = None) -> dict[str, Any]:
    """A run that is interrupted after each of ``steps`` (all by default; or a function of their number) ends as an uninterrupted one."""
    uninterrupted = recipe.start(folder / "uninterrupted", None)
    expected = result(uninterrupted)
    chosen = steps(uninterrupted.state.step) if callable(steps) else steps
    for step in range(1, uninterrupted.state.step) if chosen is None else chosen:
        assert_same(result(recipe.interrupted_at(folder / str(step), step)), expected, step)
        saved = torch.load(folder / str(step) / "model.pth", weights_only=True)
        assert zoo.same(saved, expected["weights"]), step
    return expected
