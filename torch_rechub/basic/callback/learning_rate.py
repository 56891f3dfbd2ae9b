"""Learning-rate schedules: any scheduler of torch, stepped at the moments it was made for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from torch.optim import Optimizer, lr_scheduler

from torch_rechub.basic.callback.base import Callback

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Interval", "LearningRate"]

Interval: TypeAlias = Literal["step", "check", "epoch"]


class LearningRate(Callback):
    """Makes a scheduler for the trainer's optimizer and steps it.

    ``OneCycleLR`` and ``CyclicLR`` step by optimizer step, ``ReduceLROnPlateau`` by check, all others by epoch. ``ReduceLROnPlateau``
    watches the monitored metric and takes its direction from it (torch's own default, "min", would lower the rate while AUC rises).
    ``OneCycleLR`` without ``total_steps`` learns it from the loader.

    Args:
        scheduler_fn: a class of ``torch.optim.lr_scheduler``, or any function of the optimizer that returns a scheduler.
        scheduler_params: its arguments after the optimizer.
        interval: "step", "check" or "epoch" in place of the interval above.
        monitor: the metric that a plateau is seen in; by default the trainer's.

    Raises:
        TypeError, ValueError: when the scheduler cannot be made, or watches the metric in the wrong direction.

    Example:
        >>> LearningRate(lr_scheduler.ReduceLROnPlateau, {"factor": 0.1, "patience": 0})
        LearningRate(ReduceLROnPlateau, {'factor': 0.1, 'patience': 0})
    """

    def __init__(
        self,
        scheduler_fn: Callable[..., Any],
        scheduler_params: Mapping[str, Any] | None = None,
        *,
        interval: Interval | None = None,
        monitor: str | None = None,
    ) -> None:
        if not callable(scheduler_fn):
            raise TypeError(f"scheduler_fn must be a class or function that takes the optimizer; got {scheduler_fn!r}.")
        if interval is not None and interval not in get_args(Interval):
            raise ValueError(f"scheduler_interval must be one of {list(get_args(Interval))}; got {interval!r}.")
        self.scheduler_fn: Any = scheduler_fn
        self.scheduler_params = dict(scheduler_params or {})
        self.given_interval: Interval | None = interval
        self.monitor = monitor
        self.scheduler: Any = None
        if interval == "step" and self._is_a(lr_scheduler.ReduceLROnPlateau):
            raise ValueError("ReduceLROnPlateau steps by the metric of a check: scheduler_interval must be 'check' or 'epoch'; got 'step'.")

    @property
    def interval(self) -> Interval:
        """When the scheduler steps."""
        if self.given_interval is not None:
            return self.given_interval
        if isinstance(self.scheduler, lr_scheduler.OneCycleLR | lr_scheduler.CyclicLR):
            return "step"
        return "check" if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau) else "epoch"

    def needs_length(self) -> bool:
        """Whether the scheduler must be told the number of steps of the whole run."""
        given = self.scheduler_params
        if not self._is_a(lr_scheduler.OneCycleLR):
            return False
        return given.get("total_steps") is None and not {"epochs", "steps_per_epoch"} <= given.keys()

    def _is_a(self, kind: type) -> bool:
        return inspect.isclass(self.scheduler_fn) and issubclass(self.scheduler_fn, kind)

    def make(self, optimizer: Optimizer, direction: Literal["max", "min"], total_steps: int | None = None) -> Any:
        """The scheduler for ``optimizer``."""
        params = dict(self.scheduler_params)
        if self.needs_length():
            if total_steps is None:
                raise ValueError(
                    "OneCycleLR must know the number of steps; it is not known where the training loader has no length, or for "
                    "scheduler_interval='check'. Give total_steps in scheduler_params."
                )
            params["total_steps"] = total_steps
        if self._is_a(lr_scheduler.ReduceLROnPlateau):
            params.setdefault("mode", direction)
        scheduler: Any = self.scheduler_fn(optimizer, **params)
        if not callable(getattr(scheduler, "step", None)):
            raise TypeError(f"scheduler_fn must return a scheduler with a step() method; got {scheduler!r}.")
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) and scheduler.mode != direction:
            raise ValueError(
                f"ReduceLROnPlateau: mode={scheduler.mode!r} contradicts the monitored metric, whose best is its {direction}imum. "
                f"Give mode={direction!r}, or none at all."
            )
        return scheduler

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.scheduler = trainer.scheduler
        direction = trainer.direction(self.monitor)
        plateau = isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)
        if plateau and not trainer.validates:
            raise ValueError("ReduceLROnPlateau watches a validation metric: give fit a validation loader, or take another scheduler.")
        if self.scheduler is None or (plateau and self.scheduler.mode != direction):  # an evaluate_fn may have been assigned since
            self.scheduler = trainer.scheduler = self.make(trainer.optimizer, direction, self._n_step(trainer))
        self._check_cycle(trainer)

    def _n_step(self, trainer: Trainer) -> int | None:
        """How often the scheduler will step in the whole run, where that is known."""
        if self.interval == "step" or self.given_interval is None:
            return trainer.total_steps
        return trainer.n_epoch if self.interval == "epoch" else None

    def _check_cycle(self, trainer: Trainer) -> None:
        """A cycle that ends within the run is an error now, not when its last step is passed."""
        if not isinstance(self.scheduler, lr_scheduler.OneCycleLR):
            return
        n_step, given = self._n_step(trainer), self.scheduler.total_steps
        if n_step is not None and given < n_step:
            raise ValueError(
                f"OneCycleLR: total_steps must be >= {n_step}, the steps of this run; got {given}. Leave it out to have it set."
            )

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.interval == "step" and trainer.state.stepped:
            self._step(trainer)

    def on_validation_end(self, trainer: Trainer) -> None:
        if self.interval == "check":
            self._step(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.interval == "epoch":
            self._step(trainer)

    def _step(self, trainer: Trainer) -> None:
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(trainer.state.metrics[self.monitor or trainer.monitor])
        else:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.scheduler is None else self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)

    def __repr__(self) -> str:
        return f"LearningRate({getattr(self.scheduler_fn, '__name__', self.scheduler_fn)}, {self.scheduler_params})"
