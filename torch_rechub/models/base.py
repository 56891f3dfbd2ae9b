"""The common part of all models of one probability a row: a paper contributes ``logits``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torch_rechub.basic.batch import check_labels, split_batch
from torch_rechub.basic.layers.plain import must_be_plain
from torch_rechub.basic.loss_func import carry_logits, prediction_loss
from torch_rechub.types import Batch, Features, Scores

__all__ = ["RankingModel"]

_BCE = nn.BCELoss()


class RankingModel(nn.Module):
    """A model of the probability of a positive label.

    ``model(x)`` with features gives probabilities ``(B,)``, which carry their logits (``prediction.logits``). ``model(batch)`` with a
    loader's ``(x, y)`` or ``(x, y, weight)`` gives the training loss, so that a hand-written loop reads ``loss = model(batch)``.

    Training goes through ``forward``. The loss is computed from the logits where ``forward``'s prediction arrives unchanged, and from the
    prediction where a subclass or a forward hook replaced it.
    """

    predicts_probabilities: ClassVar[bool] = True  #: a criterion of logits gets the logits of predictions that carry none

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        raise NotImplementedError

    def forward(self, x: Features) -> Scores:
        """Probabilities ``(B,)`` that carry their logits."""
        logits = self.logits(x)
        prediction = torch.sigmoid(logits)
        return prediction if must_be_plain() else carry_logits(prediction, logits)

    def __call__(self, batch: Features | Batch, *args: Any, **kwargs: Any) -> Tensor:
        """Probabilities for features, the loss for a batch with labels."""
        if isinstance(batch, Mapping | Tensor):
            return super().__call__(batch, *args, **kwargs)
        x, y, weight = split_batch(batch)
        return super().__call__(x) if y is None else self.loss(x, y, weight)

    def loss(self, x: Features, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean binary cross-entropy of ``y`` ``(B,)`` in [0, 1]; sum(w * loss) / sum(w) where rows are weighted."""
        if y.dim() != 1:
            raise ValueError(f"Labels must be one column, (B,) or (B, 1); got {tuple(y.shape)}. Give one label a row.")
        check_labels(y, weight)
        return prediction_loss(_BCE, self(x), y, weight)
