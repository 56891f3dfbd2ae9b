"""The members of a trainer that make its optimizer, and the learning-rate schedule with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from torch_rechub.basic.callback import LearningRate
from torch_rechub.engine.objective import Objective
from torch_rechub.engine.optimizers import OptimizerRecipe
from torch_rechub.engine.scoring import Scoring

__all__ = ["OptimizerFace"]


class OptimizerFace:
    """A new optimizer for every run, with the options that the user set on the one before; and one for a trial."""

    optimizer_fn: Callable[..., torch.optim.Optimizer]
    optimizer_params: dict[str, Any]
    scoring: Scoring
    callback: Callable[..., Any]
    expected_direction: Callable[..., Any]
    _objective: Objective
    _optimizer: torch.optim.Optimizer
    _optimizer_used: bool
    _recipe: OptimizerRecipe

    def trial_optimizer(self) -> torch.optim.Optimizer:
        """A new optimizer with the trainer's settings, which neither the trainer nor its schedule uses."""
        return OptimizerRecipe(self.optimizer_fn, self.optimizer_params, self._recipe.grouped).make(self._objective)

    def _new_optimizer(self, changed: Sequence[dict[str, Any]] = ()) -> torch.optim.Optimizer:
        """A new optimizer, and a new scheduler for it unless that must know the number of steps first."""
        optimizer = self._recipe.make(self._objective)
        self._recipe.apply_options(optimizer, changed)
        self._prepare_schedule(optimizer)
        return optimizer

    def _prepare_schedule(self, optimizer: torch.optim.Optimizer) -> None:
        schedule = self.callback(LearningRate)
        if schedule is not None:
            schedule.prepare(optimizer, self.expected_direction(schedule.monitor))
        self._recipe.remember(optimizer)

    def _prepare_optimizer(self, new: bool) -> None:
        """The optimizer of a run: a new one where it is to be, or where the parameters are other ones. Options that were set are kept."""
        if not any(parameter.requires_grad for parameter in self._objective.parameters()):
            raise ValueError("All parameters are frozen (requires_grad=False): there is nothing to train.")
        changed = self._recipe.changed_options(self._optimizer)
        if new or not self._recipe.fits(self._objective):
            self._optimizer = self._new_optimizer(changed)
        elif any(changed):  # schedulers compute from the rate that they found first
            for group in self._optimizer.param_groups:
                group.pop("initial_lr", None)
            self._prepare_schedule(self._optimizer)
        self._optimizer_used = True
