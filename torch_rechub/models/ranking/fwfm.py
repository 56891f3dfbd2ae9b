"""FwFM. Pan et al., *Field-weighted Factorization Machines for Click-Through Rate Prediction in Display Advertising*, WWW 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import LR as Linear
from torch_rechub.basic.layers import EmbeddingLayer, FeatureLinear, WeightedPairs
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.models.widened import widened
from torch_rechub.types import Features, Scores

__all__ = ["FwFM", "LinearType"]

LinearType: TypeAlias = Literal["LW", "FeLV", "FiLV"]


@named_arguments
class FwFM(RankingModel):
    """Field-weighted factorization machine: ``logit = linear + sum_{i<j} r_{ij} <v_i, v_j>``, one weight ``r`` for each pair of fields.

    The linear part is one of the paper's three (its section on linear terms): "LW" ``sum_i w_i``, one weight an id; "FeLV"
    ``sum_i <v_i, w_i>``, one vector ``w`` an id; "FiLV" ``sum_i <v_i, w_{F(i)}>``, one vector a field. With "FeLV" both vectors of an id
    lie side by side in one table. Deviation: dense columns, which the paper does not have, get one weight each in the linear part.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        linear_type: the linear part, as above.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``linear_type`` is none of the three, there are fewer than two embedded features, their widths differ, or a sequence has
            pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = FwFM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)])
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], linear_type: LinearType = "FiLV") -> None:
        super().__init__()
        choice("FwFM: linear_type", linear_type, ["LW", "FeLV", "FiLV"])
        self.linear_type = linear_type
        features = pooled_features("FwFM", "features", features)
        fields = fields_of("FwFM", "features", features, at_least=2)
        self.embed_dim = fields[0].embed_dim
        self.fields = widened(fields, 2) if linear_type == "FeLV" else fields
        self.dense = [feature for feature in features if isinstance(feature, DenseFeature)]
        self.features: list[Feature] = [*self.fields, *self.dense]
        self.embedding = EmbeddingLayer(self.features)
        self.pairs = WeightedPairs(len(fields), self.embed_dim, "scalar")
        self.linear = self._linear_part(features)

    def _linear_part(self, features: Sequence[Feature]) -> nn.Module | None:
        if self.linear_type == "LW":
            return FeatureLinear(features)
        if self.linear_type == "FiLV":
            return Linear(sum(feature.embed_dim for feature in features))
        self.bias = nn.Parameter(torch.zeros(1))
        return nn.Linear(sum(feature.embed_dim for feature in self.dense), 1, bias=False) if self.dense else None

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        vectors = embedded.stacked(self.fields)  # (B, F, D), or (B, F, 2 * D)
        linear: Tensor
        if self.linear_type == "LW":
            assert self.linear is not None
            linear = self.linear(x)
        elif self.linear_type == "FiLV":
            assert self.linear is not None
            linear = embedded.through(self.linear, self.features)
        else:
            vectors, weights = vectors.split(self.embed_dim, dim=2)
            linear = (vectors * weights).sum((1, 2)).unsqueeze(1) + self.bias
            linear = linear if self.linear is None else linear + embedded.through(self.linear, self.dense)
        return (linear + self.pairs(vectors)).squeeze(1)
