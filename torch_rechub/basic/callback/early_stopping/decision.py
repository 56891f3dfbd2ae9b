"""What an early stopper remembers of each validation."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True)
class Decision:
    """The monitored value of one validation, and what was decided."""

    value: float
    is_best: bool  # the strict best so far: its weights were copied
    counted: bool  # an improvement that patience counts from
    trial_counter: int  # validations in a row without one
    reason: str
