"""Logistic regression of ids and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import FeatureLinear
from torch_rechub.models.arguments import feature_list
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["LR"]


@named_arguments
class LR(RankingModel):
    """Logistic regression: ``logit = b + sum_i w_i x_i``, one weight for each id and each number.

    Richardson, Dominowska and Ragno, *Predicting Clicks: Estimating the Click-Through Rate for New Ads*, WWW 2007. Deviation: the inputs
    are the columns themselves; the paper's logarithms, squares and standardisation are left to the preparation of the data.

    Args:
        features: all columns. The widths of their embeddings are not used; the weights of a sequence are pooled as its embeddings would be.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import DenseFeature, SparseFeature
        >>> model = LR([SparseFeature("item", 20, 1), DenseFeature("age")])
        >>> model({"item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        self.features = feature_list("LR", "features", features)
        if not self.features:
            raise ValueError("LR: features must hold at least one feature; got none.")
        self.linear = FeatureLinear(self.features)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        return self.linear(x).squeeze(1)
