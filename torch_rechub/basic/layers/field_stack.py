"""All columns of a model as fields of one width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature
from torch_rechub.basic.layers.embedding import EmbeddedByCalls
from torch_rechub.basic.layers.lookup import Embedded

__all__ = ["FieldStack"]


@named_arguments
class FieldStack(nn.Module):
    """The embedded columns of a lookup as fields, and one further field, ``W d + b``, for all dense columns ``d`` together.

    For models that read nothing but fields. DLRM (Naumov et al., 2019, section 2.1) maps dense columns to one field in this way, with a
    network in place of the linear layer.

    Args:
        features: all columns; the embedded ones, at least one, have one ``embed_dim``.

    Attributes:
        num_fields: number of fields, F.
        embed_dim: width of a field, D.

    Shape:
        the result of :meth:`EmbeddingLayer.look_up` -> ``(B, F, D)``.

    Raises:
        ValueError: no column is embedded.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> from torch_rechub.basic.layers import EmbeddingLayer
        >>> features = [SparseFeature("item", 5, embed_dim=4), DenseFeature("age")]
        >>> x = {"item": torch.tensor([1, 2]), "age": torch.tensor([0.5, 0.7])}
        >>> FieldStack(features)(EmbeddingLayer(features).look_up(x, features)).shape
        torch.Size([2, 2, 4])
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        self.fields: list[Feature] = [feature for feature in features if isinstance(feature, EmbeddedFeature)]
        self.dense: list[Feature] = [feature for feature in features if isinstance(feature, DenseFeature)]
        if not self.fields:
            raise ValueError(f"FieldStack: features must hold at least one SparseFeature or SequenceFeature; got {list(features)}.")
        self.embed_dim = self.fields[0].embed_dim
        self.num_fields = len(self.fields) + bool(self.dense)
        self.linear = nn.Linear(sum(feature.embed_dim for feature in self.dense), self.embed_dim) if self.dense else None

    def forward(self, embedded: Embedded | EmbeddedByCalls) -> Tensor:
        """The fields."""
        fields = embedded.stacked(self.fields)
        if self.linear is None:
            return fields
        return torch.cat([fields, embedded.through(self.linear, self.dense).unsqueeze(1)], dim=1)
