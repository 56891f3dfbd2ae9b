"""Gradient clipping."""

from __future__ import annotations

import math

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training

__all__ = ["GradientClip"]


@named_arguments
class GradientClip(Callback):
    """Clips the gradients of each optimizer step, row gradients of tables included; first each number, then the norm of all.

    ``g <- clamp(g, -max_value, max_value)``, then ``g <- g min(1, max_norm / |g|_2)`` over all parameters together (Pascanu, Mikolov and
    Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013, section 3.2). ``CTRTrainer(..., clip_norm=10.0)`` does
    the same as ``max_norm=10.0``; with both, the trainer's comes first.

    Args:
        max_norm: largest 2-norm of all gradients together, above 0.
        max_value: largest absolute value of a number in a gradient, above 0.

    Raises:
        ValueError: when neither is given, or one is not above 0.

    Example:
        >>> GradientClip(max_norm=10.0)
        GradientClip(max_norm=10.0, max_value=None)
    """

    def __init__(self, max_norm: float | None = None, max_value: float | None = None) -> None:
        if max_norm is None and max_value is None:
            raise ValueError("GradientClip: give max_norm, max_value or both, such as GradientClip(max_norm=10.0).")
        for name, value in (("max_norm", max_norm), ("max_value", max_value)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"GradientClip: {name} must be a finite number > 0, or None; got {value!r}.")
        self.max_norm, self.max_value = max_norm, max_value

    def on_backward_end(self, trainer: Training) -> None:
        trainer.clip_gradients(self.max_norm, self.max_value)

    def __repr__(self) -> str:
        return f"GradientClip(max_norm={self.max_norm}, max_value={self.max_value})"
