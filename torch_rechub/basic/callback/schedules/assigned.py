"""A scheduler that the user made for the trainer's optimizer, as a recipe for the optimizers of later runs."""

from __future__ import annotations

import copy
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from torch_rechub.torch_private import mark_as_stepped

__all__ = ["AssignedScheduler"]

#: What a scheduler writes into the groups of an optimizer when it is made.
OPTIONS = ("lr", "initial_lr", "max_lr", "min_lr", "momentum", "base_momentum", "max_momentum", "betas")


class AssignedScheduler:
    """Gives the scheduler itself for the optimizer that it was made for, and for any other one a copy that begins anew.

    ``trainer.scheduler = StepLR(trainer.optimizer, 2)`` makes one, as a ``scheduler_fn`` of :class:`LearningRate`: a second run has a new
    optimizer.

    Args:
        scheduler: with a method ``step()``, made for ``optimizer``.
        optimizer: the trainer's.

    Attributes:
        name: the scheduler's class.
        initial: its settings and its state before the first step, for the identity of a run.

    Raises:
        TypeError: when it is a class or has no ``step()``, or cannot be copied.
        ValueError: when it was made for another optimizer.
    """

    def __init__(self, scheduler: Any, optimizer: Optimizer) -> None:
        if isinstance(scheduler, type) or not callable(getattr(scheduler, "step", None)):
            raise TypeError(
                f"trainer.scheduler must be a scheduler, such as torch.optim.lr_scheduler.StepLR(trainer.optimizer, 2), or None; "
                f"got {scheduler!r}. A class or a function is an argument of the trainer: scheduler_fn=..., scheduler_params={{...}}."
            )
        if getattr(scheduler, "optimizer", optimizer) is not optimizer:
            raise ValueError(
                f"trainer.scheduler: this {type(scheduler).__name__} changes the rates of another optimizer. Make it for trainer.optimizer."
            )
        self._optimizer, self._scheduler = optimizer, scheduler
        try:
            self._pristine = copy.deepcopy(scheduler, {id(optimizer): optimizer})
        except Exception as error:
            raise TypeError(
                f"trainer.scheduler: {type(scheduler).__name__} cannot be copied, and each fit begins with a new one: {error}. "
                "Give the trainer a function that makes it, scheduler_fn=..."
            ) from error
        self._options = [{name: group[name] for name in OPTIONS if name in group} for group in optimizer.param_groups]
        self.__name__ = self.name = type(scheduler).__name__
        functions = {name: value for name, value in vars(scheduler).items() if name == "lr_lambdas"}
        self.initial = {**getattr(self._pristine, "state_dict", dict)(), **functions}

    def __repr__(self) -> str:
        return f"AssignedScheduler({self.name})"

    def __call__(self, optimizer: Optimizer) -> Any:
        """The scheduler for ``optimizer``."""
        if optimizer is self._optimizer:
            return self._scheduler
        lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)  # which lets torch count the optimizer's steps, for its warning
        mark_as_stepped(optimizer, False)
        for group, options in zip(optimizer.param_groups, self._options, strict=False):
            group.update({name: value for name, value in options.items() if name in group or name not in {"momentum", "betas"}})
        return copy.deepcopy(self._pristine, {id(self._optimizer): optimizer})
