"""The parts of a trainer that scripts read and assign after it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torch_rechub.basic.callback import EarlyStopper, LearningRate, MetricLog
from torch_rechub.basic.callback.schedules import AssignedScheduler
from torch_rechub.engine.callback_list import CallbackList
from torch_rechub.engine.objective import Objective
from torch_rechub.engine.optimizers import OptimizerRecipe

__all__ = ["AssignedFace"]


class AssignedFace:
    """Early stopper, scheduler, loggers and penalty: each may be assigned before ``fit``, which then uses it.

    A part that is a callback takes the place of the built-in one in the list of callbacks. What cannot be used is refused at once.
    """

    callback: Callable[..., Any]
    _callbacks: CallbackList
    _objective: Objective
    _optimizer: torch.optim.Optimizer
    _recipe: OptimizerRecipe
    _refuse_within_fit: Callable[[str], None]

    @property
    def early_stopper(self) -> EarlyStopper:
        """The callback that decides, and holds the best weights."""
        stopper = self.callback(EarlyStopper)
        assert stopper is not None
        return stopper

    @early_stopper.setter
    def early_stopper(self, stopper: EarlyStopper) -> None:
        if not isinstance(stopper, EarlyStopper):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"trainer.early_stopper must be an EarlyStopper, such as EarlyStopper(3); got {stopper!r}. EarlyStopper(None) never stops; "
                "a rule of your own is a callback that calls trainer.request_stop(reason)."
            )
        self._assign("early_stopper", EarlyStopper, stopper)

    @property
    def scheduler(self) -> Any:
        """The learning-rate scheduler; None without one, or before it can be created. One of ``trainer.optimizer`` may be assigned."""
        schedule = self.callback(LearningRate)
        return None if schedule is None else schedule.scheduler

    @scheduler.setter
    def scheduler(self, scheduler: Any) -> None:
        if scheduler is None:
            self._assign("scheduler", LearningRate, None)
            return
        before = self.callback(LearningRate)
        recipe = AssignedScheduler(scheduler, self._optimizer)
        schedule = LearningRate(recipe, interval=None if before is None else before.given_interval)
        schedule.scheduler = scheduler
        self._assign("scheduler", LearningRate, schedule)
        self._recipe.remember(self._optimizer)  # the rate that the scheduler has set was not set by hand

    @property
    def model_logger(self) -> Any:
        """The logger or loggers, as they were given; None without any."""
        log = self.callback(MetricLog)
        return None if log is None else log.given

    @model_logger.setter
    def model_logger(self, loggers: Any) -> None:
        self._assign("model_logger", MetricLog, None if loggers is None else MetricLog(loggers))

    @property
    def reg_loss_fn(self) -> Any:
        """The penalty on the weights, a function of the model, which is added to the loss of every step."""
        return self.regularization

    @reg_loss_fn.setter
    def reg_loss_fn(self, penalty: Any) -> None:
        self._refuse_within_fit("trainer.reg_loss_fn was assigned")
        if isinstance(penalty, type) or not callable(penalty):
            raise TypeError(
                f"trainer.reg_loss_fn must be a function of the model, such as RegularizationLoss(dense_l2=1e-4); got {penalty!r}."
            )
        self.regularization = penalty
        self._objective.set_regularization(penalty)

    def _assign(self, name: str, kind: type, callback: Any) -> None:
        self._refuse_within_fit(f"trainer.{name} was assigned")
        self._callbacks = self._callbacks.with_part(kind, callback)
