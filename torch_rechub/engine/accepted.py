"""What a run that resumes another one does about their differences: accepted settings hold, and another patience is judged anew."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.engine.identity import group_names, labels_of

__all__ = ["OptimizerChanges", "in_words", "review_patience"]

logger = logging.getLogger(__name__)


class OptimizerChanges:
    """Options of the optimizer that were accepted to differ: the present values replace those that its state brings.

    A rate is not replaced but scaled, since a schedule may have changed it: all rates become those of a run that began with the present
    rate.

    Raises:
        ValueError: where the rates of several groups under a schedule change by different factors.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, accepted: Mapping[str, tuple[Any, Any]]) -> None:
        self.optimizer = optimizer
        self.options: list[dict[str, Any]] = []
        self.factors: list[float] = []
        for where, group in zip(group_names(optimizer), optimizer.param_groups, strict=True):
            self.options.append({name: value for name, value in group.items() if name != "lr" and f"{name} of {where}" in accepted})
            before, now = accepted.get(f"lr of {where}", (1.0, 1.0))
            self.factors.append(now / before if before else float("nan"))
        if len(set(self.factors)) > 1 or self.factors[0] != self.factors[0]:
            raise ValueError(
                "accept: rates can be accepted where all groups of the optimizer change by one factor; got "
                f"{self.factors}. Leave out resume= to start anew."
            )

    def apply(self, trainer: Any) -> None:
        """Set them, once the state has been loaded."""
        for group, options in zip(self.optimizer.param_groups, self.options, strict=True):
            group.update(options)
        if self.factors[0] != 1.0:
            trainer.scale_rate(self.factors[0])


def in_words(accepted: Mapping[str, tuple[Any, Any]], step: int) -> list[str]:
    """The accepted differences as sentences, for the save and the report.

    Example:
        >>> in_words({"lr of the optimizer": (0.1, 0.01)}, step=40)
        ['lr of the optimizer: 0.1 until step 40, then 0.01']
    """
    return [f"{name}: {before!r} until step {step}, then {now!r}" for name, (before, now) in accepted.items()]


def review_patience(run: Any, saved: Mapping[str, Any]) -> None:
    """With another patience, whether the run has stopped is decided anew: it goes on, or ends without another step."""
    for label, callback in labels_of(run.trainer.callbacks).items():
        before = saved.get(label)
        if not isinstance(callback, EarlyStopper) or before is None or before["patience"] == callback.patience:
            continue
        if callback.reason is None and before["sentence"] and run.history.stop_reason == before["sentence"]:
            run.history.stop_reason = None
            logger.info("the saved run had stopped: %s. With patience=%r it goes on.", before["sentence"], callback.patience)
        elif callback.reason is not None and run.history.stop_reason is None:
            run.requests.current.stop = callback.sentence
            logger.info("with patience=%r the saved run stops: %s", callback.patience, callback.sentence)
