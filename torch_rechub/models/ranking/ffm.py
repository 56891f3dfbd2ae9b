"""FFM. Juan, Zhuang, Chin and Lin, *Field-aware Factorization Machines for CTR Prediction*, RecSys 2016."""

from __future__ import annotations

from collections.abc import Sequence

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import EmbeddingLayer, FeatureLinear, FieldAwareProducts
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.models.widened import widened
from torch_rechub.types import Features, Scores

__all__ = ["FFM"]


@named_arguments
class FFM(RankingModel):
    """Field-aware factorization machine: ``logit = b + sum_i w_i x_i + sum_{i<j} <v_{i,j}, v_{j,i}>`` (eq. 4 and the linear terms).

    An id has one embedding for each other field. They lie side by side in one table of width ``(F - 1) * embed_dim``: a batch reads F rows,
    where F - 1 tables would read ``F * (F - 1)``, and there is no embedding for the field itself, which no product uses. Deviations: rows
    are not normalised to length one, and dense columns are part of the first-order sum only.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``, the width of each of their F - 1 embeddings.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two embedded features, their widths differ, or a sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = FFM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), SparseFeature("hour", 24, 4)])
        >>> model.embedding.table_of("user").weight.shape
        torch.Size([54, 8])
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        self.features = pooled_features("FFM", "features", features)
        fields = fields_of("FFM", "features", self.features, at_least=2)
        self.fields = widened(fields, len(fields) - 1)
        self.linear = FeatureLinear(self.features)
        self.embedding = EmbeddingLayer(self.fields)
        self.ffm = FieldAwareProducts(len(fields))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.fields)
        return self.linear(x).squeeze(1) + self.ffm(embedded.stacked(self.fields)).sum(dim=1)
