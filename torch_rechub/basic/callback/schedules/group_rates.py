"""Schedulers for single parameter groups of an optimizer, and for scaled rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from torch_rechub.torch_private import mark_as_stepped

__all__ = ["GroupOf", "Schedulers", "scale_scheduler"]


class GroupOf(Optimizer):
    """One parameter group of an optimizer, which a scheduler takes for an optimizer: the rates that it sets are set in the group.

    Args:
        optimizer: with groups that have a "name".
        name: the group's.

    Raises:
        ValueError: when there is no such group.
    """

    def __init__(self, optimizer: Optimizer, name: str) -> None:  # torch's constructor would create state and groups
        self.optimizer, self.name = optimizer, name
        mark_as_stepped(self, True)  # only the whole optimizer is stepped
        if not self.param_groups:
            names = [group.get("name") for group in optimizer.param_groups]
            raise ValueError(f"LearningRate: the optimizer must have parameters called {name!r}; it has {names}.")

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The group, read at each access, since loading a state replaces it."""
        return [group for group in self.optimizer.param_groups if group.get("name") == self.name]

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The optimizer's."""
        return self.optimizer.defaults

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """Does nothing: the whole optimizer is stepped."""


class Schedulers:
    """The schedulers of several groups, by name."""

    def __init__(self, schedulers: Mapping[str, Any]) -> None:
        self.schedulers = dict(schedulers)

    def __repr__(self) -> str:
        return f"Schedulers({', '.join(f'{name}={type(each).__name__}' for name, each in self.schedulers.items())})"

    def get_last_lr(self) -> list[float]:
        """The rates, group by group."""
        return [rate for scheduler in self.schedulers.values() for rate in scheduler.get_last_lr()]

    def step(self, metric: Any = None) -> None:
        """Step all schedulers that need no metric."""
        for scheduler in self.schedulers.values():
            scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Their states, by name."""
        return {name: scheduler.state_dict() for name, scheduler in self.schedulers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        for name, scheduler in self.schedulers.items():
            scheduler.load_state_dict(state[name])


def scale_scheduler(scheduler: Any, factor: float) -> None:
    """Multiply the rates from which a scheduler computes."""
    for name in ("base_lrs", "max_lrs"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, [rate * factor for rate in getattr(scheduler, name)])
    for inner in getattr(scheduler, "_schedulers", ()):
        scale_scheduler(inner, factor)
