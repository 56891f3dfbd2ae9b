"""How a scheduler is made for an optimizer, and when it steps."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from torch.optim import Optimizer, lr_scheduler

__all__ = ["Interval", "SchedulerRecipe"]

Interval: TypeAlias = Literal["step", "validation", "epoch"]


class SchedulerRecipe:
    """A function of the optimizer with its further arguments.

    Args:
        fn: a class of ``torch.optim.lr_scheduler``, or any function of the optimizer that returns a scheduler; None is a constant rate.
        params: its arguments after the optimizer.

    Raises:
        TypeError: when ``fn`` cannot be called.

    Example:
        >>> SchedulerRecipe(lr_scheduler.OneCycleLR, {"max_lr": 0.1}).needs_length
        True
    """

    def __init__(self, fn: Any, params: Mapping[str, Any] | None = None) -> None:
        if fn is not None and not callable(fn):
            made = hasattr(fn, "step") and hasattr(fn, "state_dict")
            kind = type(fn).__name__
            remedy = f" Give its class, scheduler_fn={kind}, and scheduler_params={{...}}; or assign trainer.scheduler." if made else ""
            given = f"an instance of {kind}" if made else repr(fn)
            raise TypeError(f"scheduler_fn must be a class or function that takes the optimizer; got {given}.{remedy}")
        self.fn: Any = fn or _constant
        self.params = dict(params or {})
        self.is_plateau = self._is_a(lr_scheduler.ReduceLROnPlateau)

    @property
    def needs_length(self) -> bool:
        """Whether the scheduler must be told the number of steps of the whole run."""
        if not self._is_a(lr_scheduler.OneCycleLR):
            return False
        return self.params.get("total_steps") is None and not {"epochs", "steps_per_epoch"} <= self.params.keys()

    def _is_a(self, kind: type) -> bool:
        return inspect.isclass(self.fn) and issubclass(self.fn, kind)

    def make(self, optimizer: Optimizer, direction: Literal["max", "min"], n_step: int | None = None) -> Any:
        """The scheduler for ``optimizer``.

        Args:
            optimizer: whose rates it sets.
            direction: where the monitored metric's best lies.
            n_step: how often it will step in the whole run, where that is known.

        Raises:
            ValueError: when the length is needed and not known, or the mode of a plateau contradicts the monitored metric.
            TypeError: when the result is not a scheduler.
        """
        params = dict(self.params)
        if self.needs_length:
            if n_step is None:
                raise ValueError(
                    "OneCycleLR must know the number of steps; it is not known where the training loader has no length, or for "
                    "scheduler_interval='validation'. Give total_steps in scheduler_params."
                )
            params["total_steps"] = n_step
        if self.is_plateau:
            params.setdefault("mode", direction)
        scheduler: Any = self.fn(optimizer, **params)
        if not callable(getattr(scheduler, "step", None)):
            raise TypeError(f"scheduler_fn must return a scheduler with a step() method; got {scheduler!r}.")
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            _check_mode(scheduler.mode, direction)
        return scheduler

    def check_direction(self, scheduler: Any, direction: Literal["max", "min"]) -> None:
        """Refuse the mode of a plateau that contradicts the monitored metric, before a scheduler is made for a run.

        Args:
            scheduler: the present one, of an earlier run or as it was made with the optimizer; None where there is none.
            direction: where the monitored metric's best lies.

        Raises:
            ValueError: naming both.
        """
        if not self.is_plateau:  # a function of the user's or a scheduler that was assigned gives its mode itself
            _check_mode(getattr(scheduler, "mode", direction), direction)
        _check_mode(self.params.get("mode", direction), direction)

    @staticmethod
    def interval_of(scheduler: Any) -> Interval:
        """The interval at which a scheduler steps by default."""
        if isinstance(scheduler, lr_scheduler.OneCycleLR | lr_scheduler.CyclicLR):
            return "step"
        return "validation" if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else "epoch"

    @staticmethod
    def check_cycle(scheduler: Any, n_step: int | None) -> None:
        """Refuse a cycle that ends within the run, before training instead of after its last step."""
        if isinstance(scheduler, lr_scheduler.OneCycleLR) and n_step is not None and scheduler.total_steps < n_step:
            raise ValueError(
                f"OneCycleLR: total_steps must be >= {n_step}, the steps of this run; got {scheduler.total_steps}. "
                "Leave it out to have it set."
            )

    def __repr__(self) -> str:
        return f"{getattr(self.fn, '__name__', self.fn)}, {self.params}"


def _check_mode(mode: str, direction: Literal["max", "min"]) -> None:
    if mode != direction:
        raise ValueError(
            f"ReduceLROnPlateau: mode={mode!r} contradicts the monitored metric, whose best is its {direction}imum. "
            f"Give mode={direction!r}, or leave it out."
        )


def _constant(optimizer: Optimizer) -> Any:
    """A scheduler that keeps the rate constant."""
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
