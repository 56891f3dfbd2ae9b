"""The one-epoch overfitting of click models: validation falls as soon as the second epoch begins.

Zhang et al., *Towards Understanding the Overfitting Phenomenon of Deep Click-Through Rate Prediction Models*, CIKM 2022
(arXiv 2209.06053): at the start of the second epoch the training loss drops and the validation AUC falls steeply, and one epoch is best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = ["Fall", "one_epoch_overfitting"]

FALL = 0.002  # of the best value's size: a clear margin for AUC and log loss, well above the noise between validations
JUMP = 0.01  # of the training loss


class Fall(NamedTuple):
    """The validations before and after the start of the second epoch."""

    best: float
    before: float
    after: float
    loss_before: float
    loss_after: float

    @property
    def sentence(self) -> str:
        """The fall in words, and what to do."""
        return (
            f"one-epoch overfitting: as epoch 2 began, validation fell from {self.before:.6g} to {self.after:.6g} (best {self.best:.6g} in "
            f"epoch 1) and the training loss from {self.loss_before:.4g} to {self.loss_after:.4g}; train one epoch, or try ReinitEmbeddings"
        )


def one_epoch_overfitting(
    epochs: Sequence[int], values: Sequence[float], losses: Sequence[float], mode: Literal["max", "min"]
) -> Fall | None:
    """Whether a run without further improvement shows the phenomenon, and where.

    It does when its best validation lies in epoch 1, when the first validation of epoch 2 is worse than both that and the last validation
    of epoch 1 by more than 0.2 % of the best value, and when the mean training loss up to that validation is lower than before by more
    than 1 %. The paper gives no thresholds; these are ours.

    Args:
        epochs: the epoch of each validation, counted from 1.
        values: the monitored value of each validation.
        losses: the mean training loss between the previous validation and each validation.
        mode: where the best value lies.

    Returns:
        The values around the fall; None where there is no such fall.

    Example:
        >>> one_epoch_overfitting([1, 1, 2, 2], [0.70, 0.72, 0.69, 0.68], [0.60, 0.50, 0.40, 0.35], "max")
        Fall(best=0.72, before=0.72, after=0.69, loss_before=0.5, loss_after=0.4)
    """
    sign = 1.0 if mode == "max" else -1.0
    finite = [at for at, value in enumerate(values) if math.isfinite(value)]
    if 2 not in epochs or not finite:
        return None
    best = max(finite, key=lambda at: sign * values[at])
    after = list(epochs).index(2)
    before = after - 1
    if epochs[best] != 1 or not math.isfinite(values[after]) or not math.isfinite(values[before]):
        return None
    fell = sign * (values[before] - values[after]) > FALL * abs(values[best])  # the best is at least as good as the one before
    jumped = losses[before] - losses[after] > JUMP * abs(losses[before])
    return Fall(values[best], values[before], values[after], losses[before], losses[after]) if fell and jumped else None
