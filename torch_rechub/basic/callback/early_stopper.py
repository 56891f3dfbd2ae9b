"""Early stopping: keep the best weights, and stop when no validation has improved for a while."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from torch_rechub.arguments import named_arguments, optional_name, whole_number
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.early_stopping import (
    Decision,
    Limits,
    Meaningful,
    Patience,
    Position,
    Significance,
    StopReason,
    WeightedMonitor,
    check_together,
    one_epoch_overfitting,
)
from torch_rechub.basic.callback.early_stopping.numbers import finite, number
from torch_rechub.basic.callback.snapshot import copy_weights
from torch_rechub.basic.callback.training import Training
from torch_rechub.storage import NATURAL, REAL, TENSORS, check_shape

__all__ = ["Decision", "EarlyStopper"]

#: The saved state; what was learned from the validations is in ``Meaningful``.
SAVED = {
    **{"best_weights": (None, dict), "best_extra_weights": TENSORS, "reason": (None, str), "sentence": (None, str)},
    **{"decisions": [{"value": REAL, "is_best": bool, "counted": bool, "trial_counter": NATURAL, "reason": str}]},
}


@named_arguments
class EarlyStopper(Callback):
    """Decides when to stop, and holds the best weights. By hand it is a pure decision; in a trainer it is a callback.

    Two references are separate. The *strict* best is the best finite value so far, whatever its margin: its weights are
    ``best_weights``. The *meaningful* best is what patience counts from: only a value better than it by more than ``min_delta`` moves
    it. NaN and infinities are never best and count as no improvement. See Prechelt, *Early Stopping - But When?*, 1998, section 2.

    Args:
        patience: training stops at this many validations in a row without a meaningful improvement; at least 1. In a trainer also
            "2 epochs" or "5_000_000 rows": at the first validation that is so far behind the last meaningful improvement. None never
            stops.
        mode: "max" or "min"; by default "max", or in a trainer the direction of the monitored metric.
        min_delta: how much better, in the metric's own unit, a validation must be to count; at least 0. "significant": a paired test
            of the AUCs of both validations' predictions must be significant.
        monitor: in a trainer, the metric to monitor, by default the trainer's; or weights of several, whose sum is maximized.
        start_from: this many first validations neither count nor move the meaningful reference; their weights can still be best.
        baseline: a value that must be beaten (by more than ``min_delta``) before anything counts as an improvement.
        target: stop at once when a validation is as good as this.
        divergence: stop at once when a validation after the first ``start_from`` is worse than this.
        alpha: level of the significance test.
        groups: a column of the validation rows within which they depend on each other (the user), for the significance test.

    Attributes:
        best_auc: the strict best of the monitored value; 0.0 (or +inf for "min") before the first finite value.
        best_weights: a deep copy on the CPU of the weights that reached it; None before the first finite value.
        best_extra_weights: likewise of what is trained besides the model; empty by hand.
        trial_counter: validations in a row without a meaningful improvement; equals ``patience`` at the stop where that is a number.
        decisions: one :class:`Decision` per call: the value, whether it counted, and why.
        reason: the ``StopReason`` of the last call, None where it did not stop.
        sentence: the same in words, with this run's numbers.

    Raises:
        ValueError, TypeError: when an argument has another type or is out of its range.

    Example:
        >>> stopper = EarlyStopper(patience=2)
        >>> [stopper.stop_training(auc, {"w": auc}) for auc in [0.70, 0.72, 0.71, 0.72]]
        [False, False, False, True]
        >>> stopper.best_auc, stopper.best_weights, stopper.trial_counter
        (0.72, {'w': 0.72}, 2)
        >>> stopper.reason, stopper.sentence
        (<StopReason.PATIENCE: 'patience'>, 'no improvement in 2 validations (best 0.72)')
    """

    free_settings = frozenset({"patience"})

    def __init__(
        self,
        patience: int | str | None,
        mode: Literal["max", "min"] | None = None,
        *,
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
        self.start_from = whole_number("EarlyStopper: start_from", start_from, least=0, wrong_type=TypeError)
        self.limits = Limits(target, divergence)
        optional_name("EarlyStopper: groups", groups)
        if not isinstance(monitor, Mapping):
            optional_name("EarlyStopper: monitor", monitor)
        self.monitor = WeightedMonitor(monitor) if isinstance(monitor, Mapping) else monitor
        self.significance = Significance(alpha, groups) if min_delta == "significant" else None
        self.needs_predictions, self.needs_columns = self.significance is not None, () if groups is None else (groups,)
        check_together(isinstance(monitor, Mapping), self.needs_predictions, mode, groups, self.limits)
        self.meaningful = Meaningful(counted, margin, self.start_from, self.baseline, self.significance)
        self.given_mode: Literal["max", "min"] | None = mode
        self.mode: Literal["max", "min"] = mode or "max"
        self.reset()

    def reset(self) -> None:
        """Forget all validations."""
        self.best_weights: Any = None
        self.best_extra_weights: dict[str, Any] = {}
        self._extra_weights: dict[str, Any] = {}
        self.decisions: list[Decision] = []
        self.reason: StopReason | None = None
        self.sentence = ""
        self.meaningful.reset()
        self._position: Position | None = None  # of the present validation; None by hand
        self._in_trainer = False

    @property
    def best_auc(self) -> float:
        """The strict best of the monitored value: the value of the last decision that was best."""
        start = 0.0 if self.mode == "max" else math.inf
        return next((decision.value for decision in reversed(self.decisions) if decision.is_best), start)

    @property
    def trial_counter(self) -> int:
        """Validations in a row without a meaningful improvement."""
        return self.meaningful.trial_counter

    @named_arguments
    def stop_training(
        self, val_auc: float | Mapping[str, float], weights: Any, *, y_true: Any = None, y_pred: Any = None, groups: Any = None
    ) -> bool:
        """Decide on one validation.

        Args:
            val_auc: the monitored value, as a float or anything that converts to one; all metrics by name where several are monitored.
            weights: ``model.state_dict()``; copied if this is the best validation so far.
            y_true: the labels of the validation rows, for ``min_delta="significant"``.
            y_pred: the model's scores of them, in the same order at each validation.
            groups: the group of each row, where ``groups`` was given.

        Returns:
            True when training should stop.

        Raises:
            ValueError: when something that the settings need was not given.
        """
        if self._position is None and self.meaningful.patience.unit != "validation":
            raise ValueError(f"EarlyStopper: patience={self.patience!r} is counted in a trainer; by hand only validations are: patience=3.")
        self.limits.check(self.mode)
        summed = isinstance(self.monitor, WeightedMonitor) and isinstance(val_auc, Mapping)
        value = number(self.monitor(val_auc) if summed else val_auc)  # type: ignore[operator]
        rows = None if self.significance is None else self.significance.rows(y_true, y_pred, groups)
        is_best = self._is_best(value)
        if is_best:  # before anything else is changed: if the copy fails, the decision can be made again
            self._copy(weights)
        n_before, position = len(self.decisions), self._position or Position()
        counted, why = self.meaningful.judge(value, self.mode, n_before, position, rows)
        self.decisions.append(Decision(value, is_best, counted, self.trial_counter, why))
        limit = self.limits.reached(value, self.mode, ignored=n_before < self.start_from)
        self._set_reason(limit or self.meaningful.exhausted(position))
        return self.reason is not None

    def _is_best(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if not any(decision.is_best for decision in self.decisions):
            return True
        return value > self.best_auc if self.mode == "max" else value < self.best_auc

    def _set_reason(self, stop: tuple[StopReason, str] | None) -> None:
        self.reason, sentence = stop or (None, "")
        has_best = any(decision.is_best for decision in self.decisions)
        self.sentence = f"{sentence} ({f'best {self.best_auc:.6g}' if has_best else 'no finite value'})" if sentence else ""

    def _copy(self, weights: Any) -> None:
        """Copy the weights: by hand always into a new copy, in a trainer into the memory of the previous best."""
        buffer = None
        if self._in_trainer:
            buffer, self.best_weights = self.best_weights, None
        if self._extra_weights:
            self.best_extra_weights = copy_weights(self._extra_weights)
        self.best_weights = copy_weights(weights, into=buffer)

    def check_settings(self, trainer: Training, validates: bool) -> None:
        if isinstance(self.monitor, WeightedMonitor):
            self.monitor.check(trainer)
            self.limits.check(self.mode)
            return
        self.limits.check(trainer.direction(self.monitor, self.given_mode))
        if self.significance is not None:
            self.significance.check(trainer, self.monitor)

    def on_fit_begin(self, trainer: Training) -> None:
        if not isinstance(self.monitor, WeightedMonitor):
            self.mode = trainer.direction(self.monitor, self.given_mode)
        self.reset()
        self._in_trainer = True

    def check_predictions(self, predictions: Mapping[str, Any]) -> None:
        if self.significance is not None:
            self.significance.rows_of(predictions)

    def decide(self, trainer: Training) -> None:
        state = trainer.state
        several = isinstance(self.monitor, WeightedMonitor)
        value = state.metrics if several else state.metrics[self.monitor or trainer.monitor]  # type: ignore[index]
        rows = {} if self.significance is None else self.significance.rows_of(state.predictions)
        self._position = Position.of(state)
        self._extra_weights = trainer.extra_weights()
        stops = self.stop_training(value, trainer.weights(), **rows)
        decision = self.decisions[-1]
        monitored = {"monitored": decision.value} if several else {}
        trainer.history.update_last(**monitored, is_best=decision.is_best, trial_counter=self.trial_counter, verdict=decision.reason)
        if stops:
            self._request_stop(trainer)

    def _request_stop(self, trainer: Training) -> None:
        if self.reason is StopReason.PATIENCE:  # naming the phenomenon does not change when training stops
            values = [decision.value for decision in self.decisions]
            fall = one_epoch_overfitting(trainer.history["epoch"], values, trainer.history["loss"], self.mode)
            if fall is not None:
                self.reason, self.sentence = StopReason.ONE_EPOCH_OVERFITTING, fall.sentence
        trainer.request_stop(self.sentence)

    def on_epoch_end(self, trainer: Training) -> None:
        """Correct the position of a validation that turned out to be at the epoch's end, where the loader has no length."""
        state = trainer.state
        last, end = Position(state.epoch, state.batch, state.rows), Position(state.epoch + 1, 0, state.rows)
        if state.validated_at != state.step or self._position != last or self.reason is not None:
            return
        self._position = end
        self.meaningful.epoch_ended(last, end)
        self._set_reason(self.meaningful.exhausted(end))
        if self.reason is not None:
            self._request_stop(trainer)

    def restore(self, trainer: Training) -> None:
        self._in_trainer, self._position, self._extra_weights = False, None, {}
        if self.best_weights is not None:  # None: no value was finite, or the copy failed for lack of memory
            trainer.load_weights(self.best_weights)
            trainer.load_extra_weights(self.best_extra_weights)

    def settings(self, trainer: Training) -> dict[str, Any]:
        """The arguments, with the direction as the monitored metric gives it."""
        several = isinstance(self.monitor, WeightedMonitor)
        mode = self.given_mode if several else trainer.direction(self.monitor, self.given_mode)  # type: ignore[arg-type]
        return {**super().settings(trainer), "mode": mode}

    def state_dict(self) -> dict[str, Any]:
        best = {"best_weights": self.best_weights, "best_extra_weights": self.best_extra_weights}
        stop = {"reason": None if self.reason is None else self.reason.value, "sentence": self.sentence}
        decisions = [asdict(decision) for decision in self.decisions]
        position = None if self._position is None else list(self._position)
        last = {"patience": self.patience, "position": position, "decisions": decisions}
        return {**best, **stop, **last, **self.meaningful.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_shape(state, SAVED)
        self.best_weights, self.best_extra_weights = state["best_weights"], state["best_extra_weights"]
        self.reason = None if state["reason"] is None else StopReason(state["reason"])
        self.sentence = state["sentence"]
        self.decisions = [Decision(**decision) for decision in state["decisions"]]
        self.meaningful.load_state_dict(state)
        self._position = None if state["position"] is None else Position(*state["position"])
        if state["patience"] != self.patience and self.reason in {None, StopReason.PATIENCE, StopReason.ONE_EPOCH_OVERFITTING}:
            self._set_reason(None if self._position is None else self.meaningful.exhausted(self._position))

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in ("monitor", "min_delta", "start_from", "baseline")} | asdict(self.limits)
        rest = "".join(f", {name}={value!r}" for name, value in shown.items() if value not in (None, 0))
        return f"EarlyStopper(patience={self.patience!r}, mode={self.mode!r}{rest})"
