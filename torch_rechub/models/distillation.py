"""A loss of predictors that learn from the prediction of all of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from torch_rechub.basic.loss_func import prediction_loss

__all__ = ["distillation_loss"]

_BCE_OF_LOGITS = nn.BCEWithLogitsLoss()


def distillation_loss(logits: Tensor, parts: Iterable[Tensor], weight: Tensor | None = None) -> Tensor:
    """The sum of the cross-entropies of each part and the prediction of all, which is a constant for the gradient.

    Args:
        logits: of all together ``(B,)``.
        parts: logits of each ``(B,)``.
        weight: weights of the rows ``(B,)``.

    Example:
        >>> distillation_loss(torch.zeros(2), [torch.zeros(2)])
        tensor(0.6931)
    """
    teacher = torch.sigmoid(logits.detach().to(torch.promote_types(logits.dtype, torch.float32)))
    return sum((prediction_loss(_BCE_OF_LOGITS, part, teacher, weight) for part in parts), teacher.new_zeros(()))
