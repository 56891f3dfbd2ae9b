"""The meaningful best: the reference that a check must beat to count, and how long none has."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch_rechub.basic.callback.early_stopping.patience import Patience, Place
from torch_rechub.basic.callback.early_stopping.reason import StopReason
from torch_rechub.basic.callback.early_stopping.significance import Significance

__all__ = ["Meaningful"]


class Meaningful:
    """What patience counts from.

    Args:
        patience: how long to wait.
        margin: how much better than the reference a value must be.
        start_from: so many first checks are ignored; patience counts from the last of them.
        baseline: the first reference; None takes the first finite value.
        significance: a test that a better value must pass as well.

    Attributes:
        reference: the value to beat.
        trial_counter: checks in a row that did not.
        since: the place from which patience counts.
    """

    def __init__(
        self, patience: Patience, margin: float, start_from: int, baseline: float | None, significance: Significance | None
    ) -> None:
        self.patience, self.margin, self.start_from = patience, margin, start_from
        self.baseline, self.significance = baseline, significance
        self.reset()

    def reset(self) -> None:
        """Forget every check."""
        self.reference, self.trial_counter, self.since = self.baseline, 0, Place()
        if self.significance is not None:
            self.significance.reference = None

    def judge(self, value: float, mode: Literal["max", "min"], n_before: int, place: Place, rows: Any) -> tuple[bool, str]:
        """Move the reference and the counter.

        Args:
            value: of the present check.
            mode: where the best lies.
            n_before: checks before this one.
            place: where the run is.
            rows: of the check, where significance is asked for.

        Returns:
            Whether it was an improvement, and why.
        """
        if n_before < self.start_from:
            self.since = place
            return False, f"ignored: check {n_before + 1} of the first {self.start_from}"
        counted, reason = self._improved(value, mode, rows)
        if counted:
            self.reference, self.trial_counter, self.since = value, 0, place
            if self.significance is not None:
                self.significance.keep(rows)
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
        sure, p = self.significance.better(rows)
        return sure, f"better than {self.reference:.6g}, {'' if sure else 'not '}significantly ({p})"

    def exhausted(self, place: Place) -> tuple[StopReason, str] | None:
        """That patience has run out, also in words, or None."""
        if not self.trial_counter or not self.patience.over(self.trial_counter, self.since, place):
            return None
        return StopReason.PATIENCE, f"no improvement in {self.patience.spent(self.trial_counter)}"

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned from the checks."""
        rows = None if self.significance is None else self.significance.reference
        return {"reference": self.reference, "trial_counter": self.trial_counter, "since": list(self.since), "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        self.reference, self.trial_counter, self.since = state["reference"], state["trial_counter"], Place(*state["since"])
        if self.significance is not None:
            self.significance.reference = state["rows"]
