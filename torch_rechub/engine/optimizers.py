"""The optimizer of a trainer: made from its recipe, and made again where the parameters are other ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torch_rechub.basic.layers.parameters import split_parameters
from torch_rechub.optim import RowOptimizer, row_wise

__all__ = ["OptimizerRecipe", "attach_tables", "detach_tables"]

logger = logging.getLogger(__name__)


class OptimizerRecipe:
    """How a trainer's optimizer is made, and what was changed on it by hand.

    Where one of torch's optimizers is given and ours does the same mathematics at the cost of the batch's rows, ours is made.

    Args:
        optimizer_fn: a function of ``(parameters, **params)``.
        params: its further arguments.
        grouped: whether tables and all other parameters are two groups, named "embedding" and "dense".
    """

    def __init__(self, optimizer_fn: Callable[..., torch.optim.Optimizer], params: Mapping[str, Any], grouped: bool) -> None:
        self.optimizer_fn, self.params, self.grouped = optimizer_fn, dict(params), grouped
        self._parameters: list[nn.Parameter] = []  # for which the latest optimizer was made
        self._options: list[dict[str, Any]] = []  # of its groups, as training left them
        self._set: list[dict[str, Any]] = []  # what the user has set on its groups, in all runs

    def make(self, objective: nn.Module) -> torch.optim.Optimizer:
        """A new optimizer of all parameters of the objective; tables are not in row mode yet."""
        if next(objective.parameters(), None) is None:
            raise ValueError("The model has no parameters: there is nothing to train.")
        make = row_wise(self.optimizer_fn, self.params) or self.optimizer_fn
        groups = [group for group in split_parameters(objective) if group["params"]] if self.grouped else list(objective.parameters())
        optimizer = make(groups, **self.params)
        detach_tables(optimizer)
        self._parameters = list(objective.parameters())
        self.remember(optimizer)
        return optimizer

    def fits(self, objective: nn.Module) -> bool:
        """Whether the objective has the same parameter objects as when the optimizer was made."""
        parameters = list(objective.parameters())
        same = len(parameters) == len(self._parameters)
        return same and all(one is other for one, other in zip(parameters, self._parameters, strict=True))

    def remember(self, optimizer: torch.optim.Optimizer) -> None:
        """Store the options of the groups (rates, decay, ...), to see later what the user changes."""
        self._options = [_options(group) for group in optimizer.param_groups]

    def changed_options(self, optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
        """What the user has set on each group, such as a learning rate: since :meth:`remember`, and before."""
        if len(optimizer.param_groups) != len(self._options):
            return []
        present = [_options(group) for group in optimizer.param_groups]
        changed = [
            {name: value for name, value in now.items() if name in before and before[name] != value}
            for before, now in zip(self._options, present, strict=True)
        ]
        earlier = self._set if len(self._set) == len(changed) else [{} for _ in changed]
        self._set = [{**before, **now} for before, now in zip(earlier, changed, strict=True)]
        return self._set

    def apply_options(self, optimizer: torch.optim.Optimizer, changed: Sequence[dict[str, Any]]) -> None:
        """Set changed options on a new optimizer's groups."""
        for group, options in zip(optimizer.param_groups, changed, strict=False):
            for name, value in options.items():
                if name in group:
                    group[name] = value
                    logger.info("the optimizer keeps %s=%r, which was set on trainer.optimizer", name, value)


def attach_tables(optimizer: torch.optim.Optimizer) -> None:
    """Put the embedding tables into row mode, where the optimizer is row-wise."""
    if isinstance(optimizer, RowOptimizer):
        optimizer.attach()


def detach_tables(optimizer: torch.optim.Optimizer) -> None:
    """Bring all rows up to date and end the row mode, so that the model is free for any other optimizer."""
    if isinstance(optimizer, RowOptimizer):
        optimizer.detach()


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a parameter group that are plain numbers, flags or tuples."""
    return {name: value for name, value in group.items() if name != "params" and isinstance(value, int | float | tuple | str | None)}
