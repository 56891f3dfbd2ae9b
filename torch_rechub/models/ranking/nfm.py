"""NFM. He and Chua, *Neural Factorization Machines for Sparse Predictive Analytics*, SIGIR 2017."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.arguments import named_arguments, probability
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import FM, MLP, Dropout, EmbeddingLayer, FeatureLinear
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["NFM"]


@named_arguments
class NFM(RankingModel):
    """Neural factorization machine: ``logit = b + sum_i w_i x_i + MLP(sum_{i<j} v_i * v_j)``, with products entry by entry (eq. 2 to 4).

    Deviations: the pooled products have no batch normalisation of their own; dense columns have a weight each, as in the paper, but no
    embedding, and the network reads them beside the pooled products.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        pooling_dropout: probability that an entry of the pooled products is set to zero in training, in [0, 1).

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two embedded features, their widths differ, or a sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = NFM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], mlp_params: Mapping[str, Any], pooling_dropout: float = 0.0) -> None:
        super().__init__()
        self.features = pooled_features("NFM", "features", features)
        self.fields = fields_of("NFM", "features", self.features, at_least=2)
        self.dense = [feature for feature in self.features if isinstance(feature, DenseFeature)]
        self.linear = FeatureLinear(self.features)
        self.embedding = EmbeddingLayer(self.features)
        self.pooling = FM(reduce_sum=False)
        self.dropout = Dropout(probability("NFM: pooling_dropout", pooling_dropout))
        width = self.fields[0].embed_dim + sum(feature.embed_dim for feature in self.dense)
        self.mlp = MLP(width, **arguments_of_mlp("NFM", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        pooled = self.dropout(self.pooling(embedded.stacked(self.fields)))  # (B, D)
        return (self.linear(x) + embedded.through(self.mlp, self.dense, [pooled])).squeeze(1)
