"""DeepFM. Guo, Tang, Ye, Li and He, *DeepFM: A Factorization-Machine based Neural Network for CTR Prediction*, IJCAI 2017."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import FM, LR, MLP, EmbeddingLayer
from torch_rechub.basic.layers.fm import linear_and_pairs
from torch_rechub.models.arguments import arguments_of_mlp, only_fields, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DeepFM"]


@named_arguments
class DeepFM(RankingModel):
    """A factorization machine and a deep network that share their embeddings.

    ``logit = y_linear + y_FM + y_DNN`` (eq. 1). Two deviations, both as in the existing package, so that weights are interchangeable: the
    linear part has one weight per entry of the embeddings, where the paper has one per id; and the deep part also reads dense columns.

    Args:
        deep_features: columns of the deep network; its input holds the embedded ones first, then the dense ones.
        fm_features: sparse and sequence columns of the factorization machine, of one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: when a sequence is kept whole (pooling "concat"), a list is empty, or ``fm_features`` holds a dense feature or
            features of different widths.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import DenseFeature, SparseFeature
        >>> sparse = [SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)]
        >>> model = DeepFM([*sparse, DenseFeature("age")], sparse, {"dims": [8], "dropout": 0.2})
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    def __init__(self, deep_features: Sequence[Feature], fm_features: Sequence[Feature], mlp_params: Mapping[str, Any]) -> None:
        super().__init__()
        self.deep_features = pooled_features("DeepFM", "deep_features", deep_features)
        self.fm_features = only_fields("DeepFM", "fm_features", fm_features, remedy="Move it to deep_features.")
        self.features = self.deep_features + self.fm_features
        self.deep_dims = sum(feature.embed_dim for feature in self.deep_features)
        self.fm_dims = sum(feature.embed_dim for feature in self.fm_features)
        self.linear = LR(self.fm_dims)
        self.fm = FM(reduce_sum=True)
        self.embedding = EmbeddingLayer(self.features)
        self.mlp = MLP(self.deep_dims, **arguments_of_mlp("DeepFM", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        wide = linear_and_pairs(embedded.stacked(self.fm_features), self.linear, self.fm)
        return wide + embedded.through(self.mlp, self.deep_features).squeeze(1)
