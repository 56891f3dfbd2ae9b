"""ONN. Yang, Xu, Shen, Shen and Zhao, *Operation-aware Neural Networks for User Response Prediction*, Neural Networks, 2020."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, FieldAwareProducts
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.models.widened import widened
from torch_rechub.types import Features, Scores

__all__ = ["ONN"]


@named_arguments
class ONN(RankingModel):
    """Operation-aware network: ``logit = MLP([v_{i,copy} of all i, <v_{i,j}, v_{j,i}> of all i < j])``; also known as NFFM.

    Each operation on a field has an embedding of its own: one that the network reads as it is (the copy), and one for the product with each
    other field. These F embeddings of an id lie side by side in one table of width ``F * embed_dim``. Deviation: the network also reads
    dense columns.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``, the width for each operation.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two embedded features, their widths differ, or a sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = ONN([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], mlp_params: Mapping[str, Any]) -> None:
        super().__init__()
        features = pooled_features("ONN", "features", features)
        fields = fields_of("ONN", "features", features, at_least=2)
        self.fields = widened(fields, len(fields))
        self.dense = [feature for feature in features if isinstance(feature, DenseFeature)]
        self.features: list[Feature] = [*self.fields, *self.dense]
        self.embedding = EmbeddingLayer(self.features)
        self.products = FieldAwareProducts(len(fields))
        self.embed_dim = fields[0].embed_dim
        n_pair = len(fields) * (len(fields) - 1) // 2
        width = sum(feature.embed_dim for feature in features) + n_pair
        self.mlp = MLP(width, **arguments_of_mlp("ONN", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        vectors = embedded.stacked(self.fields)  # (B, F, F * D)
        copies, others = vectors.tensor_split([self.embed_dim], dim=2)
        return embedded.through(self.mlp, self.dense, [copies.flatten(1), self.products(others)]).squeeze(1)
