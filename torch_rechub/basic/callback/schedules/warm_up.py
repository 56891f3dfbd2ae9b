"""Warm-up: a learning rate that rises to the first rate of a schedule."""

from __future__ import annotations

import math
import re

__all__ = ["WarmUp"]


class WarmUp:
    """The factor of the rate in the first steps: linear from ``start`` to 1, reached after ``n_step`` optimizer steps.

    ``factor(s) = start + (1 - start) s / n_step`` (Goyal et al., *Accurate, Large Minibatch SGD*, arXiv 1706.02677, 2017, section 2.2,
    "gradual warmup", where start is one over the number of workers).

    Args:
        length: optimizer steps, or words: "500 steps", "1 epoch", "0.5 epochs". 0 is none.
        start: the first step's part of the full rate, in [0, 1].

    Raises:
        ValueError: when one cannot be used.

    Example:
        >>> warm_up = WarmUp("1 epoch", start=0.2)
        >>> warm_up.begin(steps_per_epoch=4)
        >>> [round(warm_up.factor(step), 2) for step in range(6)]
        [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    """

    def __init__(self, length: int | str = 0, start: float = 0.1) -> None:
        if not 0 <= start <= 1:
            raise ValueError(f"warmup_start must be a part of the rate in [0, 1]; got {start!r}.")
        self.given, self.start = length, start
        match = re.fullmatch(r"\s*([\d_]+(?:\.\d+)?)\s*(steps?|epochs?)\s*", length) if isinstance(length, str) else None
        whole = isinstance(length, int) and not isinstance(length, bool) and length >= 0
        if not whole and (match is None or ("." in match[1] and match[2].startswith("step"))):
            raise ValueError(f"warmup must be a number of optimizer steps >= 0, '500 steps' or '1 epoch'; got {length!r}.")
        self.n_epoch = float(match[1]) if match is not None and match[2].startswith("epoch") else None
        self.n_step = int(length) if match is None else 0 if self.n_epoch is not None else int(match[1])

    def __repr__(self) -> str:
        return f"WarmUp({self.given!r}, start={self.start:g})"

    def begin(self, steps_per_epoch: int | None) -> None:
        """Set the length of an epoch; None where it is not known."""
        if self.n_epoch is not None:
            if steps_per_epoch is None:
                raise ValueError(f"warmup={self.given!r} needs the length of an epoch, and the training loader has none. Give steps.")
            self.n_step = math.ceil(self.n_epoch * steps_per_epoch)

    def factor(self, step: int) -> float:
        """The part of the full rate that the optimizer step after ``step`` others is taken with."""
        return 1.0 if step >= self.n_step else self.start + (1 - self.start) * step / self.n_step
