"""EMA: the exponential moving average of the weights."""

from __future__ import annotations

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.averaged_weights import AveragedWeights

__all__ = ["EMA"]


@named_arguments
class EMA(AveragedWeights):
    """Validates, keeps and saves an exponential moving average of the weights; training itself does not see it.

    ``average_t = d_t average_{t-1} + (1 - d_t) w_t`` with ``d_t = min(decay, 1 - 1/t)`` (Polyak and Juditsky, *Acceleration of Stochastic
    Approximation by Averaging*, SIAM J. Control Optim. 1992; Tarvainen and Valpola, *Mean teachers are better role models*, NeurIPS 2017,
    eq. 1, with the ramp of their code): until step ``1 / (1 - decay)`` it is the plain mean, so the first weights have no lasting
    influence. Deviations: embedding tables are averaged at validations
    only, with the product of the ``d_t`` since the last one; the statistics of
    batch norm are averaged like weights, not taken from the last batch. It takes the memory of one more copy of the weights.

    Args:
        decay: how much of the average a step keeps, in (0, 1): it looks back about ``1 / (1 - decay)`` steps.

    Raises:
        ValueError: when ``decay`` is not in (0, 1).

    Example:
        >>> EMA(decay=0.99).kept(before=50, now=51), EMA(decay=0.99).kept(before=5000, now=5001)
        (0.9803921568627451, 0.99)
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"EMA: decay must be above 0 and below 1; got {decay!r}. 0.999 looks back about 1000 steps.")
        self.decay = decay
        self._n_mean = int(1 / (1 - decay) + 1e-6)  # so many steps are averaged plainly
        super().__init__()

    def kept(self, before: int, now: int) -> float:
        """The product of ``d_t`` over the steps after ``before`` until ``now``."""
        plain = min(before, self._n_mean) / min(now, self._n_mean)
        return plain * self.decay ** (max(now, self._n_mean) - max(before, self._n_mean))

    def __repr__(self) -> str:
        return f"EMA(decay={self.decay})"
