"""DeepIM. Yu et al., *Deep Interaction Machine: A Simple but Effective Model for High-order Feature Interactions*, CIKM 2020."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import ANOVA, MLP, BatchNorm1d, EmbeddingLayer
from torch_rechub.basic.layers import LR as Linear
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DeepIM"]


@named_arguments
class DeepIM(RankingModel):
    """Deep interaction machine: ``logit = <w, [A^1, ..., A^order]> + b + network``.

    ``A^m`` is the sum of the products of all m distinct fields, entry by entry, by Newton's identities: see :class:`ANOVA`. Without a
    network it is the paper's IM. Deviation: the network also reads dense columns.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``; None: no network.
        order: the largest number of fields in a product.
        batch_norm: normalise the products of each order before their weights.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``order`` is below 1 or above the number of embedded features, their widths differ, a sequence has pooling "concat", or
            there are dense columns and no network.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = DeepIM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, order=2)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], mlp_params: Mapping[str, Any] | None, order: int = 2, batch_norm: bool = False) -> None:
        super().__init__()
        order = whole_number("DeepIM: order", order)
        self.features = pooled_features("DeepIM", "features", features)
        self.fields = fields_of("DeepIM", "features", self.features, at_least=order)
        if mlp_params is None and len(self.fields) < len(self.features):
            raise ValueError(
                f"DeepIM: dense features need a network, mlp_params; got None and {self.features}. Leave them out, or give it."
            )
        self.embedding = EmbeddingLayer(self.features)
        width = order * self.fields[0].embed_dim
        self.anova = ANOVA(order)
        self.norm = BatchNorm1d(width) if batch_norm else None
        self.linear = Linear(width)
        self.mlp = None
        if mlp_params is not None:
            n_column = sum(feature.embed_dim for feature in self.features)
            self.mlp = MLP(n_column, **arguments_of_mlp("DeepIM", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        products = self.anova(embedded.stacked(self.fields)).flatten(1)  # (B, order * D)
        logits = self.linear(products if self.norm is None else self.norm(products))
        return (logits if self.mlp is None else logits + embedded.through(self.mlp, self.features)).squeeze(1)
