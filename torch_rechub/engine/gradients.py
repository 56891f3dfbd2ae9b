"""Between backward and the optimizer: accumulation over several batches, and clipping."""

from __future__ import annotations

from torch import Tensor, nn

from torch_rechub.basic.batch.parts import at_least_tiny
from torch_rechub.optim.clip import clip_grad_norm_

__all__ = ["Gradients"]


class Gradients:
    """Gradients of one optimizer step, gathered from one batch or several.

    Accumulating k batches gives the gradient of one batch k times as large, also where the last group or batch is smaller or rows are
    weighted: each batch counts by its rows (or the sum of their weights).

    Args:
        model: whose parameters collect the gradients.
        accumulate: batches a step.
        clip_norm: largest 2-norm of all gradients together; None leaves them as they are.
    """

    def __init__(self, model: nn.Module, accumulate: int = 1, clip_norm: float | None = None) -> None:
        self.model = model
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.n_batch = 0
        self._size: Tensor | float = 0.0

    @property
    def complete(self) -> bool:
        """Whether a whole group of batches has been gathered."""
        return self.n_batch == self.accumulate

    def begin(self, last: bool) -> None:
        """Before a batch, which may be the ``last`` of an epoch."""

    def add(self, loss: Tensor, size: Tensor | float, n_row: int) -> tuple[Tensor, Tensor | float]:
        """Backward through the loss of one batch of ``n_row`` rows, which counts by ``size``; gives the loss and size to record."""
        scaled = loss
        if self.accumulate > 1:
            scaled = loss * size
            self._size = self._size + size
        scaled.backward()
        self.n_batch += 1
        return loss.detach(), size

    def finish(self) -> int:
        """Make the gathered gradients those of the mean loss, and clip them; gives the rows that other processes read meanwhile."""
        if self.accumulate > 1:
            size = at_least_tiny(self._size) if isinstance(self._size, Tensor) else self._size
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.div_(size)
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.n_batch, self._size = 0, 0.0
        return 0
