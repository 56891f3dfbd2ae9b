"""Early stopping: keep the best weights, and stop when nothing better has come for a while."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.early_stopping import (
    Check,
    Limits,
    Meaningful,
    Patience,
    Place,
    Significance,
    StopReason,
    WeightedMonitor,
    check_together,
    fall_of,
)
from torch_rechub.basic.callback.early_stopping.numbers import finite, number, whole_number
from torch_rechub.basic.callback.snapshot import copy_weights

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Check", "EarlyStopper"]


class EarlyStopper(Callback):
    """Says when to stop, and holds the best weights. By hand it is a pure decision; in a trainer it is a callback.

    Two references are kept apart. The *strict* best is the best finite value so far, whatever its margin: its weights are
    ``best_weights``. The *meaningful* best is what patience counts from: only a value better than it by more than ``min_delta`` moves
    it. NaN and infinities are never best and count as no improvement. See Prechelt, *Early Stopping - But When?*, 1998, section 2.

    Args:
        patience: training stops at this many checks in a row without a meaningful improvement; at least 1. In a trainer also
            "2 epochs" or "5_000_000 rows": at the first check that lies so far behind the last meaningful improvement.
        mode: "max" or "min"; by default "max", or in a trainer the direction of the monitored metric.
        min_delta: how much better, in the metric's own unit, a check must be to count; at least 0. "significant": a paired test
            of the AUCs of both checks' predictions must say so.
        monitor: in a trainer, the metric to watch, by default the trainer's; or weights of several, whose sum is to be large.
        start_from: so many first checks neither count nor move the meaningful reference; their weights can be best all the same.
        baseline: a value that must be beaten (by more than ``min_delta``) before anything counts as an improvement.
        target: stop at once when a check is as good as this.
        divergence: stop at once when a check behind the first ``start_from`` is worse than this.
        alpha: level of the significance test.
        groups: a column of the validation rows within which they depend on each other (the user), for the significance test.

    Attributes:
        best_auc: the strict best of whatever is monitored; 0.0 (or +inf for "min") before the first finite value.
        best_weights: a deep copy on the CPU of the weights that reached it; None before the first finite value.
        trial_counter: checks in a row without a meaningful improvement; equals ``patience`` at the stop where that is a number.
        checks: one :class:`Check` for every call: what was seen, whether it counted, and why.
        reason: the ``StopReason`` of the last call, None where it did not stop.
        sentence: the same in words, with this run's numbers.

    Raises:
        ValueError, TypeError: when an argument is not as above.

    Example:
        >>> stopper = EarlyStopper(patience=2)
        >>> [stopper.stop_training(auc, {"w": auc}) for auc in [0.70, 0.72, 0.71, 0.72]]
        [False, False, False, True]
        >>> stopper.best_auc, stopper.best_weights, stopper.trial_counter
        (0.72, {'w': 0.72}, 2)
        >>> stopper.reason, stopper.sentence
        (<StopReason.PATIENCE: 'patience'>, 'no improvement in 2 checks (best 0.72)')
    """

    def __init__(
        self,
        patience: int | str,
        *,
        mode: Literal["max", "min"] | None = None,
        min_delta: float | Literal["significant"] = 0.0,
        monitor: str | Mapping[str, float] | None = None,
        start_from: int = 0,
        baseline: float | None = None,
        target: float | None = None,
        divergence: float | None = None,
        alpha: float = 0.05,
        groups: str | None = None,
    ) -> None:
        if mode not in {"max", "min", None}:
            raise ValueError(f"EarlyStopper: mode must be 'max' or 'min'; got {mode!r}.")
        margin = 0.0 if min_delta == "significant" else finite("min_delta", min_delta)
        if margin < 0:
            raise ValueError(f"EarlyStopper: min_delta must be >= 0; got {min_delta}. Use mode='min' where smaller is better.")
        counted = Patience.read(patience)
        self.patience = patience if isinstance(patience, str) else counted.amount
        self.min_delta, self.baseline = min_delta, None if baseline is None else finite("baseline", baseline)
        self.start_from = whole_number("start_from", start_from, least=0)
        self.limits = Limits(target, divergence)
        self.monitor = WeightedMonitor(monitor) if isinstance(monitor, Mapping) else monitor
        self.significance = Significance(alpha, groups) if min_delta == "significant" else None
        self.needs_predictions, self.needs_columns = self.significance is not None, () if groups is None else (groups,)
        check_together(isinstance(monitor, Mapping), self.needs_predictions, mode, groups, self.limits)
        self.meaningful = Meaningful(counted, margin, self.start_from, self.baseline, self.significance)
        self.given_mode: Literal["max", "min"] | None = mode
        self.mode: Literal["max", "min"] = mode or "max"
        self.reset()

    def reset(self) -> None:
        """Forget every check."""
        self.best_auc = 0.0 if self.mode == "max" else math.inf
        self.best_weights: Any = None
        self.checks: list[Check] = []
        self.reason: StopReason | None = None
        self.sentence = ""
        self.meaningful.reset()
        self._has_best = False
        self._place: Place | None = None  # of the present check; None by hand
        self._in_trainer = False

    @property
    def trial_counter(self) -> int:
        """Checks in a row without a meaningful improvement."""
        return self.meaningful.trial_counter

    def stop_training(
        self, val_auc: float | Mapping[str, float], weights: Any, *, y_true: Any = None, y_pred: Any = None, groups: Any = None
    ) -> bool:
        """Look at one check.

        Args:
            val_auc: what is monitored, as a float or anything that converts to one; all metrics by name where several are monitored.
            weights: ``model.state_dict()``; copied if this is the best check so far.
            y_true: the labels of the validation rows, for ``min_delta="significant"``.
            y_pred: the model's scores of them, in the same order at each check.
            groups: the group of each row, where ``groups`` was given.

        Returns:
            True when training should stop.

        Raises:
            ValueError: when something that the settings need was not given.
        """
        if self._place is None and self.meaningful.patience.unit != "check":
            raise ValueError(f"EarlyStopper: patience={self.patience!r} is counted in a trainer; by hand only checks are: patience=3.")
        self.limits.check(self.mode)
        summed = isinstance(self.monitor, WeightedMonitor) and isinstance(val_auc, Mapping)
        value = number(self.monitor(val_auc) if summed else val_auc)  # type: ignore[operator]
        rows = None if self.significance is None else self.significance.rows(y_true, y_pred, groups)
        is_best = math.isfinite(value) and (not self._has_best or (value > self.best_auc if self.mode == "max" else value < self.best_auc))
        if is_best:  # before anything else is touched: broken off within the copy, the check can be looked at again
            self._keep(weights)
            self.best_auc, self._has_best = value, True
        n_before, place = len(self.checks), self._place or Place()
        counted, why = self.meaningful.judge(value, self.mode, n_before, place, rows)
        self.checks.append(Check(value, is_best, counted, self.trial_counter, why))
        limit = self.limits.reached(value, self.mode, ignored=n_before < self.start_from)
        self.reason, sentence = limit or self.meaningful.exhausted(place) or (None, "")
        best = f"best {self.best_auc:.6g}" if self._has_best else "no finite value seen"
        self.sentence = f"{sentence} ({best})" if sentence else ""
        return self.reason is not None

    def _keep(self, weights: Any) -> None:
        """Copy the weights: by hand always into a fresh copy, in a trainer into the memory of the last best, which ends there."""
        buffer = None
        if self._in_trainer:
            buffer, self.best_weights = self.best_weights, None
        self.best_weights = copy_weights(weights, into=buffer)

    def on_fit_begin(self, trainer: Trainer) -> None:
        if isinstance(self.monitor, WeightedMonitor):
            self.monitor.check(trainer)
        else:
            self.mode = trainer.direction(self.monitor, self.given_mode)
            if self.significance is not None:
                self.significance.check(trainer, self.monitor)
        self.limits.check(self.mode)
        self.reset()
        self._in_trainer = True

    def on_validation_end(self, trainer: Trainer) -> None:
        state, record = trainer.state, trainer.history[-1]
        several = isinstance(self.monitor, WeightedMonitor)
        value = state.metrics if several else state.metrics[self.monitor or trainer.monitor]  # type: ignore[index]
        rows = {} if self.significance is None else self.significance.rows_of(state.predictions)
        self._place = Place.of(state)
        if self.stop_training(value, trainer.weights(), **rows):
            fall = fall_of(trainer.history, [check.value for check in self.checks], self.mode)
            if self.reason is StopReason.PATIENCE and fall is not None:  # when to stop is not changed by it
                self.reason, self.sentence = StopReason.ONE_EPOCH_OVERFITTING, fall.sentence
            trainer.request_stop(self.sentence)
        check = self.checks[-1]
        state.is_best = check.is_best
        record.update({"monitored": check.value} if several else {})
        record.update(is_best=check.is_best, trial_counter=self.trial_counter, verdict=check.reason)

    def on_fit_end(self, trainer: Trainer) -> None:
        try:
            if trainer.validates and len(self.checks) < len(trainer.history):  # broken off between measuring and deciding:
                self.on_validation_end(trainer)  # the model still holds what was measured
        finally:
            if self.best_weights is not None:  # None: nothing was best, or there was no memory for a copy
                trainer.load_weights(self.best_weights)
            self._in_trainer, self._place = False, None

    def state_dict(self) -> dict[str, Any]:
        best = {"best_auc": self.best_auc, "has_best": self._has_best, "best_weights": self.best_weights}
        stop = {"reason": None if self.reason is None else self.reason.value, "sentence": self.sentence}
        return {**best, **stop, "mode": self.mode, "checks": [asdict(check) for check in self.checks], **self.meaningful.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_auc, self._has_best, self.best_weights = state["best_auc"], state["has_best"], state["best_weights"]
        self.reason = None if state["reason"] is None else StopReason(state["reason"])
        self.sentence, self.mode = state["sentence"], state["mode"]
        self.checks = [Check(**check) for check in state["checks"]]
        self.meaningful.load_state_dict(state)

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in ("monitor", "min_delta", "start_from", "baseline")} | asdict(self.limits)
        rest = "".join(f", {name}={value!r}" for name, value in shown.items() if value not in (None, 0))
        return f"EarlyStopper(patience={self.patience!r}, mode={self.mode!r}{rest})"
