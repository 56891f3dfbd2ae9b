"""AutoInt. Song et al., *AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks*, CIKM 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import LR, MLP, EmbeddingLayer, InteractingLayer
from torch_rechub.basic.layers.plain import are_plain
from torch_rechub.models.arguments import arguments_of_mlp, only_fields, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["AutoInt"]


@named_arguments
class AutoInt(RankingModel):
    """Layers of self-attention over the fields, beside a linear part and a network.

    A field is an embedding (eq. 2-3), or a number times a vector (eq. 4). ``logit = w . [e_1, ..., e_F] + b`` (eq. 9) of the last layer of
    :class:`~torch_rechub.basic.layers.InteractingLayer` (eq. 5-8). Deviations, as in the existing package: a linear part and the network
    read the fields (with the network it is the paper's AutoInt+); the attention scores are scaled (``scale=False`` is the paper's); a layer
    has the width of the embeddings (``attention_dim`` is the paper's choice).

    Args:
        sparse_features: sparse features and pooled sequences of one ``embed_dim``, at least one.
        dense_features: columns of numbers; each is a field, a column of vectors by a matrix. None or an empty list where there are none.
        num_layers: number of attention layers, at least 1.
        num_heads: number of heads; it must divide the width of a layer.
        dropout: probability that an attention weight is set to zero in training, in [0, 1).
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``; None has no
            network.
        attention_dim: width of a layer, all heads together; None is that of the embeddings.
        scale: divide the attention scores by the square root of a head's width.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there is no sparse feature, their widths differ, one has pooling "concat", ``dense_features`` has another one;
            ``num_layers`` is below 1, ``num_heads`` does not divide the width, or ``dropout`` is out of range.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> sparse, dense = [SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], [DenseFeature("age")]
        >>> model = AutoInt(sparse, dense, num_layers=2, mlp_params={"dims": [8], "dropout": 0.2})
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    def __init__(
        self,
        sparse_features: Sequence[Feature],
        dense_features: Sequence[Feature] | None,
        num_layers: int = 3,
        num_heads: int = 2,
        dropout: float = 0.0,
        mlp_params: Mapping[str, Any] | None = None,
        *,
        attention_dim: int | None = None,
        scale: bool = True,
    ) -> None:
        super().__init__()
        self.sparse_features = only_fields("AutoInt", "sparse_features", sparse_features, remedy="Move it to dense_features.")
        self.dense_features = pooled_features("AutoInt", "dense_features", dense_features) if dense_features else []
        for feature in self.dense_features:
            if not isinstance(feature, DenseFeature):
                raise ValueError(f"AutoInt: dense_features must be dense features; got {feature!r}. Move it to sparse_features.")
        self.features = [*self.sparse_features, *self.dense_features]
        self.embed_dim = self.sparse_features[0].embed_dim
        self.num_sparse, self.num_dense, self.num_fields = len(self.sparse_features), len(self.dense_features), len(self.features)
        self.num_layers = whole_number("AutoInt: num_layers", num_layers)
        self.dims = self.num_fields * self.embed_dim
        self.sparse_embedding = EmbeddingLayer(self.features)
        dense = {feature.name: nn.Linear(feature.embed_dim, self.embed_dim, bias=False) for feature in self.dense_features}
        self.dense_embeddings = nn.ModuleDict(dense)
        width = self.embed_dim if attention_dim is None else whole_number("AutoInt: attention_dim", attention_dim)
        widths = [self.embed_dim, *[width] * (num_layers - 1)]
        layers = [InteractingLayer(each, num_heads, dropout, residual=True, attention_dim=attention_dim, scale=scale) for each in widths]
        self.interacting_layers = nn.ModuleList(layers)
        self.linear = LR(self.dims)
        self.attn_linear = nn.Linear(self.num_fields * width, 1)
        self.use_mlp = mlp_params is not None
        self.mlp = None if mlp_params is None else MLP(self.dims, **arguments_of_mlp("AutoInt", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.sparse_embedding.look_up(x, self.features)
        fields = embedded.stacked(self.sparse_features)
        if self.dense_features:
            fields = torch.cat([fields, self._embed(embedded.flat(self.dense_features))], dim=1)  # (B, F, D)
        attended = fields
        for layer in self.interacting_layers:
            attended = layer(attended)
        flat = fields.flatten(start_dim=1)
        logits = self.attn_linear(attended.flatten(start_dim=1)) + self.linear(flat)  # (B, 1)
        return (logits if self.mlp is None else logits + self.mlp(flat)).squeeze(1)

    def _embed(self, numbers: Tensor) -> Tensor:
        """The fields ``(B, n, D)`` of dense columns side by side, as one product where each is one number (eq. 4)."""
        layers = list(self.dense_embeddings.values())
        if numbers.shape[1] == len(layers) and are_plain(layers, nn.Linear):
            vectors = torch.stack([layer.get_parameter("weight").squeeze(1) for layer in layers])  # (n, D)
            return numbers.unsqueeze(2) * vectors
        parts = numbers.split([feature.embed_dim for feature in self.dense_features], dim=1)
        return torch.stack([layer(part) for layer, part in zip(layers, parts, strict=True)], dim=1)
