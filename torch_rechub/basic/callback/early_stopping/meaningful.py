"""The meaningful best: the reference that a validation must beat to count, and how long none has."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch_rechub.basic.callback.early_stopping.patience import Patience, Position
from torch_rechub.basic.callback.early_stopping.reason import StopReason
from torch_rechub.basic.callback.early_stopping.significance import Significance
from torch_rechub.storage import NATURAL, REAL, check_shape

__all__ = ["Meaningful"]


class Meaningful:
    """The reference that patience counts from.

    Args:
        patience: how long to wait.
        margin: how much better than the reference a value must be.
        start_from: number of first validations that are ignored; patience counts from the last of them.
        baseline: the first reference; None takes the first finite value.
        significance: a test that a better value must pass as well.

    Attributes:
        reference: the value to beat.
        trial_counter: validations in a row that did not beat it.
        since: the position from which patience counts.
    """

    def __init__(
        self, patience: Patience, margin: float, start_from: int, baseline: float | None, significance: Significance | None
    ) -> None:
        self.patience, self.margin, self.start_from = patience, margin, start_from
        self.baseline, self.significance = baseline, significance
        self.reset()

    def __repr__(self) -> str:
        return f"Meaningful({self.patience!r}, margin={self.margin:g}, start_from={self.start_from}, baseline={self.baseline})"

    def reset(self) -> None:
        """Forget all validations."""
        self.reference, self.trial_counter, self.since = self.baseline, 0, Position()
        if self.significance is not None:
            self.significance.set_reference(None)

    def judge(self, value: float, mode: Literal["max", "min"], n_before: int, position: Position, rows: Any) -> tuple[bool, str]:
        """Move the reference and the counter.

        Args:
            value: of the present validation.
            mode: where the best lies.
            n_before: number of validations before this one.
            position: where the run is.
            rows: the validation's rows, where significance is tested.

        Returns:
            Whether it was an improvement, and why.
        """
        if n_before < self.start_from:
            self.since = position
            return False, f"ignored: validation {n_before + 1} of the first {self.start_from}"
        counted, reason = self._improved(value, mode, rows)
        if counted:
            self.reference, self.trial_counter, self.since = value, 0, position
            if self.significance is not None:
                self.significance.set_reference(rows)
        else:
            self.trial_counter += 1
        return counted, reason

    def _improved(self, value: float, mode: Literal["max", "min"], rows: Any) -> tuple[bool, str]:
        """Whether a value is a meaningful improvement, and why."""
        if not math.isfinite(value):
            return False, f"{value} is no improvement"
        if self.reference is None:
            return True, "the first value"
        gain = value - self.reference if mode == "max" else self.reference - value
        if not gain > self.margin:
            margin = f" by more than {self.margin:g}" if self.margin else ""
            return False, f"not better than {self.reference:.6g}{margin}"
        if self.significance is None or self.significance.reference is None:
            return True, f"better than {self.reference:.6g}"
        significant, p = self.significance.is_better(rows)
        return significant, f"better than {self.reference:.6g}, {'' if significant else 'not '}significantly ({p})"

    def epoch_ended(self, last: Position, end: Position) -> None:
        """Count from the ``end`` of an epoch where the ``last`` validation turned out to be at its end."""
        if self.since == last:
            self.since = end

    def exhausted(self, position: Position) -> tuple[StopReason, str] | None:
        """The reason to stop and its sentence where patience has run out; None otherwise."""
        if not self.trial_counter or not self.patience.is_over(self.trial_counter, self.since, position):
            return None
        return StopReason.PATIENCE, f"no improvement in {self.patience.passed(self.trial_counter)}"

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned from the validations."""
        rows = None if self.significance is None else self.significance.reference
        return {"reference": self.reference, "trial_counter": self.trial_counter, "since": list(self.since), "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        check_shape(state, {"reference": (None, REAL), "trial_counter": NATURAL, "since": [REAL], "rows": (None, dict)})
        self.reference, self.trial_counter, self.since = state["reference"], state["trial_counter"], Position(*state["since"])
        if self.significance is not None:
            self.significance.set_reference(state["rows"])
