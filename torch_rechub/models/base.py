"""What every model of one probability a row has in common: a paper contributes ``logits``, the rest is here."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from torch_rechub.basic.batch.checks import check_labels
from torch_rechub.basic.batch.parts import at_least_tiny, split_batch
from torch_rechub.types import Batch, Features, Scores

__all__ = ["RankingModel"]


class RankingModel(nn.Module):
    """A model that answers with the probability of a positive label.

    ``model(x)`` with features gives probabilities ``(B,)``. ``model(batch)`` with a loader's ``(x, y)`` or ``(x, y, weight)`` gives the
    training loss, so that a loop by hand reads ``loss = model(batch)``.
    """

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        raise NotImplementedError

    def loss(self, x: Features, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean binary cross-entropy of ``y`` ``(B,)`` in [0, 1], computed from logits; sum(w * loss) / sum(w) where weighted."""
        if y.dim() != 1:
            raise ValueError(f"Labels must be one column, (B,) or (B, 1); got {tuple(y.shape)}. Give one label a row.")
        check_labels(y, weight)
        logits = self.logits(x)
        if weight is None:
            return nn.functional.binary_cross_entropy_with_logits(logits, y)
        return nn.functional.binary_cross_entropy_with_logits(logits, y, weight, reduction="sum") / at_least_tiny(weight.sum())

    def forward(self, batch: Features | Batch) -> Tensor:
        if isinstance(batch, Mapping):
            return torch.sigmoid(self.logits(batch))
        x, y, weight = split_batch(batch)
        if y is None:
            return torch.sigmoid(self.logits(x))
        return self.loss(x, y, weight)
