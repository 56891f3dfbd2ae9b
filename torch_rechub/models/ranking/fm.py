"""FM. Rendle, *Factorization Machines*, ICDM 2010."""

from __future__ import annotations

from collections.abc import Sequence

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import FM as SumOfPairs
from torch_rechub.basic.layers import EmbeddingLayer, FeatureLinear
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["FM"]


@named_arguments
class FM(RankingModel):
    """Factorization machine: ``logit = b + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j`` (eq. 1), in linear time (lemma 3.1).

    Deviations: a dense column has a weight and no embedding, so it is part of the first-order sum only; a sequence is one field, the
    weights and embeddings of its ids are pooled.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two embedded features, their widths differ, or a sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = FM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)])
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        self.features = pooled_features("FM", "features", features)
        self.fields = fields_of("FM", "features", self.features, at_least=2)
        self.linear = FeatureLinear(self.features)
        self.embedding = EmbeddingLayer(self.fields)
        self.fm = SumOfPairs()

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.fields)
        return (self.linear(x) + self.fm(embedded.stacked(self.fields))).squeeze(1)
