"""SAM. Cheng and Xue, *Looking at CTR Prediction Again: Is Attention All You Need?*, SIGIR 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments, probability, whole_number
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import Dropout, EmbeddingLayer
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["SAM", "Aggregation", "Interaction", "PairAttention", "SelfAttention"]

Interaction: TypeAlias = Literal["SAM2A", "SAM2E", "SAM3A", "SAM3E"]
Aggregation: TypeAlias = Literal["concat", "mean", "sum"]


class PairAttention(nn.Module):
    """SAM2: each pair of fields has a vector, weighted by ``s_ij = <v_i, v_j>``: a learned one (A) or ``v_i * v_j`` (E).

    Shape:
        ``(B, F, D)`` -> ``(B, F * F, D)``.
    """

    def __init__(self, num_fields: int, embed_dim: int, learned: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_fields, num_fields, embed_dim)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """The vectors of all pairs."""
        scores = x @ x.transpose(1, 2)  # (B, F, F)
        values = x.unsqueeze(2) * x.unsqueeze(1) if self.weight is None else self.weight
        return (scores.unsqueeze(3) * values).flatten(1, 2)


class SelfAttention(nn.Module):
    """SAM3: ``y_i = sum_j s_ij u_ij + Q v_i`` with ``s_ij = <v_i, K v_j>``: learned vectors ``u`` (A), or ``u_ij = v_i * v_j`` (E).

    Shape:
        ``(B, F, D)`` -> ``(B, F, D)``, without a tensor of all pairs of vectors.
    """

    def __init__(self, num_fields: int, embed_dim: int, learned: bool, residual: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_fields, num_fields, embed_dim)) if learned else None
        self.key = nn.Linear(embed_dim, embed_dim, bias=False)
        self.query = nn.Linear(embed_dim, embed_dim, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """The vectors of all fields."""
        scores = x @ self.key(x).transpose(1, 2)  # (B, F, F)
        attended = x * (scores @ x) if self.weight is None else self._learned(scores, self.weight)
        return attended if self.query is None else attended + self.query(x)

    @staticmethod
    def _learned(scores: Tensor, weight: Tensor) -> Tensor:
        """``sum_j s_ij w_ij``, as a product of matrices for each field i."""
        return torch.bmm(scores.transpose(0, 1), weight).transpose(0, 1)


@named_arguments
class SAM(RankingModel):
    """Self-attention without softmax in place of a network: ``logit = <w, aggregation of the attended fields> + b``.

    "SAM2A" and "SAM2E" are one layer that extends factorization machines, "SAM3A" and "SAM3E" are layers like those of a transformer; A has
    learned vectors for each pair of fields, E their products (the paper's section on SAM). Deviation: the last linear layer also reads
    dense columns.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        interaction_type: one of the four.
        aggregation: how the vectors become one: "concat", "mean" or "sum"; SAM2 has "concat" only.
        num_interaction_layers: number of layers of SAM3; not used by SAM2.
        use_residual: add ``Q v_i`` in each layer of SAM3; not used by SAM2.
        interaction_dropout: probability that an output of a layer is set to zero in training, in [0, 1).

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``interaction_type`` or ``aggregation`` has another value, SAM2 is not concatenated, there are fewer than two embedded
            features, their widths differ, a sequence has pooling "concat", or a number is out of range.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = SAM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], "SAM3A")
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        interaction_type: Interaction = "SAM2E",
        aggregation: Aggregation = "concat",
        num_interaction_layers: int = 3,
        use_residual: bool = False,
        interaction_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        choice("SAM: interaction_type", interaction_type, get_args(Interaction))
        is_pairs, learned = interaction_type.startswith("SAM2"), interaction_type.endswith("A")
        choice(f"SAM: aggregation of {interaction_type}", aggregation, ["concat"] if is_pairs else get_args(Aggregation))
        self.aggregation = aggregation
        self.features = pooled_features("SAM", "features", features)
        self.fields = fields_of("SAM", "features", self.features, at_least=2)
        self.dense = [feature for feature in self.features if isinstance(feature, DenseFeature)]
        self.embedding = EmbeddingLayer(self.features)
        n_field, width = len(self.fields), self.fields[0].embed_dim
        n_layer = whole_number("SAM: num_interaction_layers", num_interaction_layers)
        self.layers = nn.ModuleList(
            [PairAttention(n_field, width, learned)]
            if is_pairs
            else [SelfAttention(n_field, width, learned, use_residual) for _ in range(n_layer)]
        )
        self.dropout = Dropout(probability("SAM: interaction_dropout", interaction_dropout))
        n_vector = 1 if aggregation != "concat" else n_field * n_field if is_pairs else n_field
        self.fc = nn.Linear(n_vector * width + sum(feature.embed_dim for feature in self.dense), 1)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        vectors = embedded.stacked(self.fields)
        for layer in self.layers:
            vectors = self.dropout(layer(vectors))
        if self.aggregation == "concat":
            aggregated = vectors.flatten(1)
        else:
            aggregated = vectors.mean(1) if self.aggregation == "mean" else vectors.sum(1)
        return embedded.through(self.fc, self.dense, [aggregated]).squeeze(1)
