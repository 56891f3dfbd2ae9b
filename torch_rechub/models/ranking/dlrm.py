"""DLRM. Naumov et al., *Deep Learning Recommendation Model for Personalization and Recommendation Systems*, 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, InnerProducts
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DLRM", "Interaction"]

Interaction: TypeAlias = Literal["dot", "cat"]


@named_arguments
class DLRM(RankingModel):
    """A network of dense columns (bottom) gives one more vector; a network (top) reads it and the inner products of all pairs of vectors.

    Section 2 of the paper. With ``interaction="cat"`` the top reads all vectors themselves, the other choice of the authors' code.
    Deviation: without dense columns there is no bottom network, and the vectors are the embeddings alone.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of the top network, an :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``,
            ``norm``.
        bottom_mlp_params: those of the bottom network, whose last width, ``embed_dim``, is added; not used without dense columns.
        interaction: "dot" or "cat".

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``interaction`` is neither of the two, there is no embedded feature (for "dot": fewer than two vectors), widths differ,
            or a sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import DenseFeature, SparseFeature
        >>> model = DLRM([SparseFeature("item", 20, 4), DenseFeature("age")], {"dims": [8]}, {"dims": [8]})
        >>> model({"item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        bottom_mlp_params: Mapping[str, Any] | None = None,
        interaction: Interaction = "dot",
    ) -> None:
        super().__init__()
        choice("DLRM: interaction", interaction, ["dot", "cat"])
        self.interaction = interaction
        self.features = pooled_features("DLRM", "features", features)
        self.dense = [feature for feature in self.features if isinstance(feature, DenseFeature)]
        self.fields = fields_of("DLRM", "features", self.features, at_least=1 if self.dense or interaction == "cat" else 2)
        self.embedding = EmbeddingLayer(self.features)
        width, n_vector = self.fields[0].embed_dim, len(self.fields) + bool(self.dense)
        self.bottom = None
        if self.dense:
            bottom = arguments_of_mlp("DLRM", "bottom_mlp_params", bottom_mlp_params or {})
            bottom["dims"] = [*(bottom.get("dims") or []), width]
            self.bottom = MLP(sum(feature.embed_dim for feature in self.dense), output_layer=False, **bottom)
        self.dot = InnerProducts(n_vector) if interaction == "dot" else None
        n_input = n_vector * width if self.dot is None else n_vector * (n_vector - 1) // 2 + width * bool(self.dense)
        self.mlp = MLP(n_input, **arguments_of_mlp("DLRM", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        numbers: list[Tensor] = [] if self.bottom is None else [embedded.through(self.bottom, self.dense)]  # (B, D), or none
        if self.dot is None:
            return embedded.through(self.mlp, self.fields, numbers).squeeze(1)
        vectors = torch.cat([embedded.stacked(self.fields), *(vector.unsqueeze(1) for vector in numbers)], dim=1)
        return self.mlp(torch.cat([*numbers, self.dot(vectors)], dim=1)).squeeze(1)
