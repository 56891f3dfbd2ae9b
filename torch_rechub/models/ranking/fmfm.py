"""FmFM. Sun, Pan, Zhang and Flores, *FM2: Field-matrixed Factorization Machines for Recommender Systems*, WWW 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import EmbeddingLayer, FeatureLinear, WeightedPairs
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["FieldInteraction", "FmFM"]

FieldInteraction: TypeAlias = Literal["vectorized", "matrixed"]


@named_arguments
class FmFM(RankingModel):
    """Field-matrixed factorization machine: ``logit = b + sum_i w_i x_i + sum_{i<j} <v_i M_ij, v_j>``, one matrix for each pair of fields.

    "vectorized" has diagonal matrices, which the paper calls FvFM; with numbers in their place it is :class:`FwFM`. Deviations: all fields
    have one ``embed_dim`` (the paper also has field-specific ones), and dense columns are part of the first-order sum only.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        field_interaction_type: "matrixed" or "vectorized".

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``field_interaction_type`` is neither of the two, there are fewer than two embedded features, their widths differ, or a
            sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = FmFM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)])
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], field_interaction_type: FieldInteraction = "matrixed") -> None:
        super().__init__()
        choice("FmFM: field_interaction_type", field_interaction_type, ["vectorized", "matrixed"])
        self.features = pooled_features("FmFM", "features", features)
        self.fields = fields_of("FmFM", "features", self.features, at_least=2)
        self.linear = FeatureLinear(self.features)
        self.embedding = EmbeddingLayer(self.fields)
        weight = "vector" if field_interaction_type == "vectorized" else "matrix"
        self.pairs = WeightedPairs(len(self.fields), self.fields[0].embed_dim, weight)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.fields)
        return (self.linear(x) + self.pairs(embedded.stacked(self.fields))).squeeze(1)
