"""HOFM. Blondel, Fujino, Ueda and Ishihata, *Higher-Order Factorization Machines*, NIPS 2016."""

from __future__ import annotations

from collections.abc import Sequence

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import ANOVA, EmbeddingLayer, FeatureLinear
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.models.widened import widened
from torch_rechub.types import Features, Scores

__all__ = ["HOFM"]


@named_arguments
class HOFM(RankingModel):
    """Higher-order factorization machine: ``logit = b + <w, x> + sum_{m=2}^{order} sum_d A^m(v^{(m)}_d)``.

    ``A^m`` is the sum of the products of all m distinct fields, in linear time: see :class:`ANOVA`. Each order has embeddings of its own,
    which lie side by side in one table of width ``(order - 1) * embed_dim``, so that a batch reads one row for each id. Deviation: dense
    columns are part of the first-order sum only.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``, the width for each order.
        order: the largest number of fields in a product.
        share_embeddings: all orders use the same embeddings (the paper's section "HOFM with shared parameters").

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``order`` is below 2 or above the number of embedded features, their widths differ, or a sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = HOFM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), SparseFeature("hour", 24, 4)], order=3)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "hour": torch.tensor([5, 6])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], order: int = 3, share_embeddings: bool = False) -> None:
        super().__init__()
        self.order = whole_number("HOFM: order", order, least=2)
        self.share_embeddings = share_embeddings
        self.features = pooled_features("HOFM", "features", features)
        fields = fields_of("HOFM", "features", self.features, at_least=self.order)
        self.fields = fields if share_embeddings else widened(fields, self.order - 1)
        self.linear = FeatureLinear(self.features)
        self.embedding = EmbeddingLayer(self.fields)
        self.anova = ANOVA(self.order)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        vectors = self.embedding.look_up(x, self.fields).stacked(self.fields)  # (B, F, D), or (B, F, (order - 1) * D)
        kernels = self.anova(vectors)[:, 1:]  # orders 2, 3, ...
        if not self.share_embeddings:  # of order m, those of its own embeddings
            kernels = kernels.unflatten(2, (self.order - 1, -1)).diagonal(dim1=1, dim2=2)
        return self.linear(x).squeeze(1) + kernels.sum(dim=(1, 2))
