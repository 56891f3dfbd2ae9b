"""AFM. Xiao, Ye, He, Zhang, Wu and Chua, *Attentional Factorization Machines*, IJCAI 2017."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import LR, Dropout, EmbeddingLayer, FeatureLinear
from torch_rechub.models.arguments import only_fields
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["AFM"]


@named_arguments
class AFM(RankingModel):
    """A factorization machine whose pairs of fields are weighted by an attention network.

    ``logit = y_linear + p . sum_{i<j} a_ij (v_i * v_j)`` (eq. 6), where ``a_ij`` is the softmax over all pairs of
    ``h . relu(W (v_i * v_j) + b)`` (eq. 5). Deviations: the linear part has one weight per entry of the embeddings, as in the existing
    package, where the paper has one per id (``linear="id"``); dropout acts on the attention weights too, as in the authors' code.
    Difference from the existing package, whose weights load: there the pairs are summed before the attention, so every ``a_ij`` is 1 and
    the attention network has no gradient.

    Args:
        fm_features: the fields, sparse features and pooled sequences of one ``embed_dim``; at least two.
        embed_dim: their width.
        t: width of the attention network (the paper's attention factor).
        dropout: probability that an attention weight, and an entry of the weighted sum, is set to zero in training, in [0, 1).
        linear: what has a weight in the linear part: each entry of the embeddings, or each id.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two fields, one is dense, has pooling "concat" or another width than ``embed_dim``; ``t`` is below
            1, ``dropout`` is out of range, or ``linear`` is neither of the two.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = AFM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], embed_dim=4, t=8)
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    left: Tensor
    right: Tensor

    def __init__(
        self,
        fm_features: Sequence[Feature],
        embed_dim: int,
        t: int = 64,
        *,
        dropout: float = 0.0,
        linear: Literal["embedding", "id"] = "embedding",
    ) -> None:
        super().__init__()
        choice("AFM: linear", linear, ["embedding", "id"])
        self.fm_features = only_fields("AFM", "fm_features", fm_features, at_least=2, remedy="AFM reads no dense features.")
        width = self.fm_features[0].embed_dim
        if embed_dim != width:
            raise ValueError(f"AFM: embed_dim must be that of fm_features, {width}; got {embed_dim!r}.")
        self.features = self.fm_features
        self.embed_dim = width
        self.fm_dims = len(self.features) * width
        self.linear = FeatureLinear(self.features) if linear == "id" else LR(self.fm_dims)
        self.embedding = EmbeddingLayer(self.features)
        self.attention_liner = nn.Linear(width, whole_number("AFM: t", t))  # the name in the existing package's weights
        self.h = nn.Parameter(nn.init.xavier_uniform_(torch.empty(t, 1)))
        self.p = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, 1)))
        self.dropout = Dropout(dropout)
        left, right = torch.triu_indices(len(self.features), len(self.features), offset=1)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        linear = self.linear(x) if isinstance(self.linear, FeatureLinear) else embedded.through(self.linear, self.features)
        fields = embedded.stacked(self.features)  # (B, F, D)
        crosses = fields.index_select(1, self.left) * fields.index_select(1, self.right)  # (B, P, D) for P pairs
        scores = torch.relu(self.attention_liner(crosses)) @ self.h  # (B, P, 1)
        attention = self.dropout(scores.softmax(dim=1))
        pooled = self.dropout((attention.transpose(1, 2) @ crosses).squeeze(1))  # (B, D)
        return (linear + pooled @ self.p).squeeze(1)
