"""The first-order part of a model with one weight for each id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature, SequenceFeature, SparseFeature
from torch_rechub.basic.layers.embedding import EmbeddingLayer
from torch_rechub.types import Features

__all__ = ["FeatureLinear"]


@named_arguments
class FeatureLinear(nn.Module):
    """``b + sum of a weight for each id + <w, dense columns>`` (Rendle, *Factorization Machines*, ICDM 2010, eq. 1, first two terms).

    :class:`LR` has a weight for each entry of the embeddings instead. The weights of the ids are a table of width 1, which counts as an
    embedding table: it is trained by rows, and ``embedding_l2`` penalises it. The weights of a sequence are pooled as its embeddings; those
    of a sequence with pooling "concat" are summed.

    Args:
        features: all columns of the first-order part.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> ``(B, 1)``.

    Raises:
        ValueError: ``features`` is empty.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> linear = FeatureLinear([SparseFeature("item", 5, embed_dim=4), DenseFeature("age")])
        >>> linear({"item": torch.tensor([1, 2]), "age": torch.tensor([0.5, 0.7])}).shape
        torch.Size([2, 1])
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        if not features:
            raise ValueError("FeatureLinear: features must hold at least one feature; got none.")
        self.embedded: list[Feature] = [_of_width_one(feature) for feature in features if isinstance(feature, EmbeddedFeature)]
        self.dense: list[Feature] = [feature for feature in features if isinstance(feature, DenseFeature)]
        self.bias = nn.Parameter(torch.zeros(1))
        self.embedding = EmbeddingLayer([*self.embedded, *self.dense])
        n_number = sum(feature.embed_dim for feature in self.dense)
        self.fc = nn.Linear(n_number, 1, bias=False) if self.dense else None

    def forward(self, x: Features) -> Tensor:
        """One number per row."""
        columns = self.embedding.look_up(x, [*self.embedded, *self.dense])
        total = self.bias
        if self.embedded:
            total = total + columns.flat(self.embedded).sum(dim=1, keepdim=True)
        return total if self.fc is None else total + columns.through(self.fc, self.dense)


def _of_width_one(feature: SparseFeature | SequenceFeature) -> Feature:
    if isinstance(feature, SequenceFeature) and feature.pooling == "concat":
        return replace(feature, embed_dim=1, pooling="sum")
    return replace(feature, embed_dim=1)
