"""Early stopping: keep the best weights, and stop when nothing better has come for a while."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.snapshot import copy_weights

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Check", "EarlyStopper"]


@dataclass(frozen=True)
class Check:
    """One look at the monitored value, and what became of it."""

    value: float
    is_best: bool  # the strict best so far: its weights were kept
    counted: bool  # an improvement that patience counts from
    trial_counter: int  # checks in a row without one
    reason: str


class EarlyStopper(Callback):
    """Says when to stop, and holds the best weights. By hand it is a pure decision; in a trainer it is a callback.

    Two references are kept apart. The *strict* best is the best finite value so far, whatever its margin: its weights are
    ``best_weights``. The *meaningful* best is what patience counts from: only a value better than it by more than ``min_delta`` moves
    it. NaN and infinities are never best and count as no improvement. See Prechelt, *Early Stopping - But When?*, 1998, section 2.

    Args:
        patience: training stops at this many checks in a row without a meaningful improvement; at least 1.
        mode: "max" or "min"; by default "max", or in a trainer the direction of the monitored metric.
        min_delta: how much better, in the metric's own unit, a check must be to count; at least 0.
        monitor: in a trainer, the metric to watch; by default the trainer's.
        start_from: so many first checks neither count nor move the meaningful reference; their weights can be best all the same.
        baseline: a value that must be beaten (by more than ``min_delta``) before anything counts as an improvement.

    Attributes:
        best_auc: the strict best of whatever is monitored; 0.0 (or +inf for "min") before the first finite value.
        best_weights: a deep copy on the CPU of the weights that reached it; None before the first finite value.
        trial_counter: checks in a row without a meaningful improvement; equals ``patience`` at the stop.
        checks: one :class:`Check` for every call: what was seen, whether it counted, and why.

    Raises:
        ValueError, TypeError: when an argument is not as above.

    Example:
        >>> stopper = EarlyStopper(patience=2)
        >>> [stopper.stop_training(auc, {"w": auc}) for auc in [0.70, 0.72, 0.71, 0.72]]
        [False, False, False, True]
        >>> stopper.best_auc, stopper.best_weights, stopper.trial_counter
        (0.72, {'w': 0.72}, 2)
    """

    def __init__(
        self,
        patience: int,
        *,
        mode: Literal["max", "min"] | None = None,
        min_delta: float = 0.0,
        monitor: str | None = None,
        start_from: int = 0,
        baseline: float | None = None,
    ) -> None:
        if mode not in {"max", "min", None}:
            raise ValueError(f"EarlyStopper: mode must be 'max' or 'min'; got {mode!r}.")
        self.patience = _whole_number("patience", patience, least=1)
        self.start_from = _whole_number("start_from", start_from, least=0)
        self.min_delta = _finite("min_delta", min_delta)
        if self.min_delta < 0:
            raise ValueError(f"EarlyStopper: min_delta must be >= 0; got {min_delta}. Use mode='min' where smaller is better.")
        self.baseline = None if baseline is None else _finite("baseline", baseline)
        self.monitor = monitor
        self.given_mode: Literal["max", "min"] | None = mode
        self.mode: Literal["max", "min"] = mode or "max"
        self.reset()

    def reset(self) -> None:
        """Forget every check."""
        self.best_auc = 0.0 if self.mode == "max" else math.inf
        self.best_weights: Any = None
        self.trial_counter = 0
        self.checks: list[Check] = []
        self._has_best = False
        self._reference = self.baseline
        self._in_trainer = False

    def stop_training(self, val_auc: float, weights: Any) -> bool:
        """Look at one check.

        Args:
            val_auc: what is monitored, as a float or anything that converts to one.
            weights: ``model.state_dict()``; copied if this is the best check so far.

        Returns:
            True when training should stop.
        """
        value = _number(val_auc)
        is_best = math.isfinite(value) and (not self._has_best or self._better(value, self.best_auc, 0.0))
        if is_best:  # before anything else is touched: broken off within the copy, the check can be looked at again
            self._keep(weights)
            self.best_auc, self._has_best = value, True
        counted, reason = self._judge(value)
        self.checks.append(Check(value, is_best, counted, self.trial_counter, reason))
        return self.trial_counter >= self.patience

    def _judge(self, value: float) -> tuple[bool, str]:
        """Move the meaningful reference and the counter; say whether it was an improvement, and why."""
        if len(self.checks) < self.start_from:
            return False, f"ignored: check {len(self.checks) + 1} of the first {self.start_from}"
        if not math.isfinite(value):
            self.trial_counter += 1
            return False, f"{value} is no improvement"
        if self._reference is None or self._better(value, self._reference, self.min_delta):
            reason = "the first value" if self._reference is None else f"better than {self._reference:.6g}"
            self._reference, self.trial_counter = value, 0
            return True, reason
        self.trial_counter += 1
        margin = f" by more than {self.min_delta:g}" if self.min_delta else ""
        return False, f"not better than {self._reference:.6g}{margin}"

    def _better(self, value: float, than: float, margin: float) -> bool:
        return value - than > margin if self.mode == "max" else than - value > margin

    def _keep(self, weights: Any) -> None:
        """Copy the weights: by hand always into a fresh copy, in a trainer into the memory of the last best, which ends there."""
        buffer = None
        if self._in_trainer:
            buffer, self.best_weights = self.best_weights, None
        self.best_weights = copy_weights(weights, into=buffer)

    @property
    def sentence(self) -> str:
        """Why training stopped, in words."""
        best = f"best {self.best_auc:.6g}" if self._has_best else "no finite value seen"
        return f"no improvement in {self.trial_counter} checks ({best})"

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.mode = trainer.direction(self.monitor, self.given_mode)
        self.reset()
        self._in_trainer = True

    def on_validation_end(self, trainer: Trainer) -> None:
        if self.stop_training(trainer.state.metrics[self.monitor or trainer.monitor], trainer.weights()):
            trainer.request_stop(self.sentence)
        trainer.state.is_best = self.checks[-1].is_best
        trainer.history[-1].update(is_best=self.checks[-1].is_best, trial_counter=self.trial_counter, verdict=self.checks[-1].reason)

    def on_fit_end(self, trainer: Trainer) -> None:
        if trainer.validates and len(self.checks) < len(trainer.history):  # broken off between measuring and deciding:
            self.on_validation_end(trainer)  # the model still holds what was measured
        if self._has_best:
            trainer.load_weights(self.best_weights)
        self._in_trainer = False

    def state_dict(self) -> dict[str, Any]:
        checks = [asdict(check) for check in self.checks]
        numbers = {"best_auc": self.best_auc, "trial_counter": self.trial_counter, "reference": self._reference}
        return {**numbers, "mode": self.mode, "checks": checks, "has_best": self._has_best, "best_weights": self.best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_auc, self.trial_counter = state["best_auc"], state["trial_counter"]
        self.mode, self._reference = state["mode"], state["reference"]
        self.checks = [Check(**check) for check in state["checks"]]
        self.best_weights, self._has_best = state["best_weights"], state["has_best"]

    def __repr__(self) -> str:
        shown: Mapping[str, Any] = {
            "monitor": self.monitor,
            "min_delta": self.min_delta,
            "start_from": self.start_from,
            "baseline": self.baseline,
        }
        rest = "".join(f", {name}={value!r}" for name, value in shown.items() if value)
        return f"EarlyStopper(patience={self.patience}, mode={self.mode!r}{rest})"


def _number(value: Any, name: str = "the monitored value") -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"EarlyStopper: {name} must be one number; got {value!r}.") from error


def _finite(name: str, value: float) -> float:
    number = _number(value, name)
    if not math.isfinite(number):
        raise ValueError(f"EarlyStopper: {name} must be finite; got {value!r}.")
    return number


def _whole_number(name: str, value: int, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"EarlyStopper: {name} must be an integer >= {least}; got {value!r}.") from None
    if isinstance(value, bool) or number < least:
        raise ValueError(f"EarlyStopper: {name} must be an integer >= {least}; got {value!r}.")
    return number
