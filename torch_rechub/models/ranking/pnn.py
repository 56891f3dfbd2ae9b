"""PNN. Qu et al., *Product-based Neural Networks for User Response Prediction*, ICDM 2016."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, InnerProducts
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["PNN", "Product"]

Product: TypeAlias = Literal["inner", "outer"]


@named_arguments
class PNN(RankingModel):
    """Product-based neural network: ``logit = MLP([z, p])`` with the embeddings ``z`` and products ``p`` of their pairs (eq. 1 to 3).

    "inner" (IPNN): ``p`` holds ``<v_i, v_j>`` for all i < j. "outer" (OPNN): ``p = v v^T`` with ``v = sum_i v_i``, the paper's
    superposition of the outer products of all pairs. Deviations: inner products enter the first layer by its full weight, where the paper
    has a weight matrix of rank one to save time; and the network also reads dense columns.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        product: "inner" or "outer".

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``product`` is neither of the two, there are fewer than two embedded features, their widths differ, or a sequence has
            pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = PNN([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, product="outer")
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], mlp_params: Mapping[str, Any], product: Product = "inner") -> None:
        super().__init__()
        choice("PNN: product", product, ["inner", "outer"])
        self.features = pooled_features("PNN", "features", features)
        self.fields = fields_of("PNN", "features", self.features, at_least=2)
        self.embedding = EmbeddingLayer(self.features)
        n_field, width = len(self.fields), self.fields[0].embed_dim
        self.inner = InnerProducts(n_field) if product == "inner" else None
        n_product = n_field * (n_field - 1) // 2 if product == "inner" else width * width
        n_column = sum(feature.embed_dim for feature in self.features)
        self.mlp = MLP(n_column + n_product, **arguments_of_mlp("PNN", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        vectors = embedded.stacked(self.fields)
        products = self._outer(vectors) if self.inner is None else self.inner(vectors)
        return embedded.through(self.mlp, self.features, [products]).squeeze(1)

    @staticmethod
    def _outer(vectors: Tensor) -> Tensor:
        total = vectors.sum(1)  # (B, D)
        return (total.unsqueeze(2) * total.unsqueeze(1)).flatten(1)  # (B, D * D)
