"""What is remembered of each check."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """One look at the monitored value, and what became of it."""

    value: float
    is_best: bool  # the strict best so far: its weights were kept
    counted: bool  # an improvement that patience counts from
    trial_counter: int  # checks in a row without one
    reason: str
