"""Values at which a run ends at once: one that is good enough, and one that is too bad."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch_rechub.basic.callback.early_stopping.numbers import finite
from torch_rechub.basic.callback.early_stopping.reason import StopReason

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """A target and a limit of divergence.

    NaN never reaches the target and never passes the limit. An infinity on the bad side passes any limit.

    Args:
        target: stop when the value is as good as this or better.
        divergence: stop when the value is worse than this: a floor where larger is better, a ceiling where smaller is.

    Example:
        >>> Limits(target=0.8, divergence=0.5).reached(0.81, "max")
        (<StopReason.TARGET: 'target'>, 'target 0.8 reached: 0.81')
        >>> Limits(divergence=2.0).reached(2.5, "min")[1]
        'diverged: 2.5 is worse than 2'
    """

    target: float | None = None
    divergence: float | None = None

    def __post_init__(self) -> None:
        for name in ("target", "divergence"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, finite(name, getattr(self, name)))

    def check(self, mode: Literal["max", "min"]) -> None:
        """Refuse a target that is not better than the limit of divergence.

        Raises:
            ValueError: naming both.
        """
        if self.target is None or self.divergence is None:
            return
        if _gain(self.target, self.divergence, mode) <= 0:
            side = "above" if mode == "max" else "below"
            raise ValueError(
                f"EarlyStopper: with mode={mode!r} target must lie {side} divergence; got target={self.target:g}, "
                f"divergence={self.divergence:g}. Exchange them, or give the other mode."
            )

    def reached(self, value: float, mode: Literal["max", "min"], ignored: bool = False) -> tuple[StopReason, str] | None:
        """The reason to stop at ``value`` and its sentence, or None; divergence does not count in a validation that is ignored."""
        if self.target is not None and math.isfinite(value) and _gain(value, self.target, mode) >= 0:
            return StopReason.TARGET, f"target {self.target:g} reached: {value:.6g}"
        if self.divergence is not None and not ignored and _gain(value, self.divergence, mode) < 0:
            return StopReason.DIVERGENCE, f"diverged: {value:.6g} is worse than {self.divergence:g}"
        return None


def _gain(value: float, than: float, mode: Literal["max", "min"]) -> float:
    """How much better a value is than another."""
    return value - than if mode == "max" else than - value
