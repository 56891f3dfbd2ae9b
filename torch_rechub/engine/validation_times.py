"""When a run validates."""

from __future__ import annotations

import numbers
from typing import Any

__all__ = ["ValidationTimes"]


class ValidationTimes:
    """The optimizer steps of an epoch after which a validation is due; the end of an epoch always is one.

    Args:
        val_every: None for the end of each epoch only; a fraction of an epoch (0.25: four validations); or a number of optimizer steps.

    Raises:
        ValueError: when ``val_every`` is neither.

    Example:
        >>> [step for step in range(1, 11) if ValidationTimes(0.25).due(step, 10)]
        [2, 5, 8]
    """

    def __init__(self, val_every: Any) -> None:
        if not isinstance(val_every, bool) and isinstance(val_every, numbers.Real):  # numbers of numpy, too
            val_every = int(val_every) if isinstance(val_every, numbers.Integral) else float(val_every)
        is_count = isinstance(val_every, int) and not isinstance(val_every, bool) and val_every >= 1
        is_fraction = isinstance(val_every, float) and 0 < val_every <= 1
        if val_every is not None and not is_count and not is_fraction:
            raise ValueError(f"val_every must be a fraction of an epoch in (0, 1] or a whole number of steps >= 1; got {val_every!r}.")
        self.val_every: int | float | None = val_every

    @property
    def needs_length(self) -> bool:
        """Whether the number of steps of an epoch must be known."""
        return isinstance(self.val_every, float) and self.val_every < 1

    def due(self, step: int, n_step: int | None) -> bool:
        """Whether a validation is due after step ``step`` (counted from 1) of an epoch of ``n_step``, its end aside."""
        if self.val_every is None or step == n_step:
            return False
        if isinstance(self.val_every, int):
            return step % self.val_every == 0
        if not self.needs_length:
            return False
        assert n_step is not None
        between = self.val_every * n_step  # the k-th validation is due after round(k * between) steps
        return round(round(step / between) * between) == step
