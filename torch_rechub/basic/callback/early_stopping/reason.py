"""Why training was stopped."""

from __future__ import annotations

from enum import Enum

__all__ = ["StopReason"]


class StopReason(Enum):
    """What made an ``EarlyStopper`` stop; ``meaning`` describes it in a sentence, the stopper's ``sentence`` with this run's numbers.

    Example:
        >>> StopReason.TARGET.value, StopReason("target").meaning
        ('target', 'The target was reached.')
    """

    PATIENCE = "patience"
    ONE_EPOCH_OVERFITTING = "one_epoch_overfitting"
    TARGET = "target"
    DIVERGENCE = "divergence"

    @property
    def meaning(self) -> str:
        """The reason as a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    StopReason.PATIENCE: "There was no improvement for as long as patience allows.",
    StopReason.ONE_EPOCH_OVERFITTING: "Patience ran out because validation fell as soon as the second epoch began.",
    StopReason.TARGET: "The target was reached.",
    StopReason.DIVERGENCE: "The monitored value was worse than the limit given as divergence.",
}
