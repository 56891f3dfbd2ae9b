"""SWA: the plain mean of the weights along the end of a run."""

from __future__ import annotations

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.callback.averaged_weights import AveragedWeights
from torch_rechub.basic.callback.training import Training

__all__ = ["SWA"]


@named_arguments
class SWA(AveragedWeights):
    """Validates, keeps and saves the mean of the weights of all steps since ``start_epoch``.

    Stochastic weight averaging (Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, *Averaging Weights Leads to Wider Optima and Better
    Generalization*, UAI 2018, Algorithm 1), to be used with a constant or cyclic rate. Deviations: the mean is over every step, not over
    one a cycle; embedding tables enter it at validations, weighted by the steps since the last
    one; the statistics of batch norm are averaged
    with the weights instead of being computed again in a pass over the data. Validations before ``start_epoch`` measure the plain weights,
    and the best validation counts, averaged or not. It takes the memory of one more copy of the weights.

    Args:
        start_epoch: epochs that are trained before averaging begins, at least 0.

    Raises:
        ValueError: when ``start_epoch`` is not a whole number >= 0.

    Example:
        >>> SWA(start_epoch=5).kept(before=3, now=4)
        0.75
    """

    def __init__(self, start_epoch: int) -> None:
        start_epoch = whole_number("SWA: start_epoch", start_epoch, least=0, kind="a whole number of epochs")
        self.start_epoch = start_epoch
        super().__init__()

    def kept(self, before: int, now: int) -> float:
        """Every step has equal weight."""
        return before / now

    def averages_now(self, trainer: Training) -> bool:
        """Whether ``start_epoch`` epochs have been trained."""
        return trainer.state.epoch >= self.start_epoch

    def __repr__(self) -> str:
        return f"SWA(start_epoch={self.start_epoch})"
