"""One training step's loss: what the trainer runs, and what ``DistributedDataParallel`` and ``torch.compile`` wrap."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from torch_rechub.basic.batch.checks import check_labels
from torch_rechub.basic.batch.parts import at_least_tiny
from torch_rechub.basic.loss_func import RegularizationLoss

__all__ = ["TrainStep", "probabilities"]


class TrainStep(nn.Module):
    """Model, criterion and extra losses in one module.

    Args:
        model: maps features to scores ``(B,)`` or ``(B, 1)``; with ``loss_mode=False`` to ``(scores, extra loss)``.
        criterion: a loss of ``(scores, y)``; None is the task's own, the binary cross-entropy, computed from logits where the model
            gives them.
        regularization: added to every loss.
        loss_mode: False where the model returns an extra loss beside its scores.

    Shape:
        ``x, y (B,), weight (B,) or None`` -> the loss, a scalar.
    """

    def __init__(
        self, model: nn.Module, criterion: Any = None, regularization: RegularizationLoss | None = None, loss_mode: bool = True
    ) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion
        self.regularization = regularization if regularization is not None and regularization.active else None
        self.loss_mode = loss_mode

    def forward(self, x: Any, y: Tensor | None, weight: Tensor | None = None) -> Tensor:
        if y is None:
            raise ValueError("Training needs labels: the loader must yield (x, y) or (x, y, weight); got x alone.")
        loss = self._task_loss(x, y, weight)
        return loss if self.regularization is None else loss + self.regularization(self.model)

    def _task_loss(self, x: Any, y: Tensor, weight: Tensor | None) -> Tensor:
        if self.criterion is None and self.loss_mode and _knows_its_loss(self.model):
            return self.model.loss(x, y, weight)  # type: ignore[operator]
        check_labels(y, weight, binary=self.criterion is None)  # before the model's own buffers move
        scores, extra = self.model(x), None
        if not self.loss_mode:
            scores, extra = scores
        scores = _as_labels(scores, y)
        y = y.to(scores.dtype)
        if self.criterion is None:
            loss = weighted(nn.functional.binary_cross_entropy(scores, y, reduction="none"), weight)
        else:
            loss = self.criterion(scores, y) if weight is None else weighted(_unreduced(self.criterion)(scores, y), weight)
        return loss if extra is None else loss + extra


def probabilities(model: nn.Module, x: Any, loss_mode: bool = True) -> Tensor:
    """The model's scores ``(B,)``, whatever else it returns."""
    scores = model(x) if loss_mode else model(x)[0]
    if scores.dim() == 0:  # a squeezed batch of one row
        return scores.reshape(1)
    return scores.squeeze(1) if scores.dim() == 2 and scores.shape[1] == 1 else scores


def weighted(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of ``losses`` ``(B,)``: sum(w * loss) / sum(w) where rows are weighted, 0 where no row has a weight above 0."""
    return losses.mean() if weight is None else (losses * weight).sum() / at_least_tiny(weight.sum())


def _knows_its_loss(model: nn.Module) -> bool:
    """Whether the model is one that computes the loss from its own logits; a user's module may call anything ``loss``."""
    return all(callable(getattr(type(model), name, None)) for name in ("logits", "loss"))


def _as_labels(scores: Tensor, y: Tensor) -> Tensor:
    """Scores ``(B, 1)`` where labels are ``(B,)``: the existing package's users write both."""
    if scores.shape == y.shape:
        return scores
    if scores.numel() == y.numel():
        return scores.reshape(y.shape)
    raise ValueError(f"The model answers with shape {tuple(scores.shape)} to labels of shape {tuple(y.shape)}; they must be equal.")


def _unreduced(criterion: Any) -> Any:
    """The same criterion with one value a row, so that rows can be weighted."""
    if not hasattr(criterion, "reduction"):
        raise ValueError(
            f"Weighted rows need a criterion that gives one value a row: {criterion!r} has no attribute 'reduction'. "
            "Use one of torch's losses, or leave the weights out."
        )
    each = copy.copy(criterion)
    each.reduction = "none"
    return each
