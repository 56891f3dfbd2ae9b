"""DESTINE. Xu, Zhu, Liu, Wu, Wang, *Disentangled Self-Attentive Neural Networks for Click-Through Rate Prediction*, CIKM 2021."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import nn

from torch_rechub.arguments import choice, named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, DisentangledSelfAttention, EmbeddingLayer, FeatureLinear, FieldStack
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DESTINE"]

ResidualMode: TypeAlias = Literal["each_layer", "last_layer"]


@named_arguments
class DESTINE(RankingModel):
    """Layers of disentangled self-attention over the fields, and a linear layer; a deep network and first-order weights may be added.

    ``logit = w [z_1, ..., z_F] + b`` for the fields ``z`` behind the last attention layer
    (:class:`~torch_rechub.basic.layers.DisentangledSelfAttention`). The published benchmark has the deep network, and no first-order
    weights. Deviation: all dense columns together are one further field of the attention
    (:class:`~torch_rechub.basic.layers.FieldStack`), and the network reads them as they are.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP` for a deep network; None is none.
        n_attention_layers: number of attention layers.
        attention_dim: width of a field behind an attention layer.
        num_heads: number of heads; it must divide ``attention_dim``.
        att_dropout: probability that an attention weight is set to zero in training, in [0, 1).
        residual_mode: "each_layer" adds a linear map of its input to each attention layer, "last_layer" one of the embeddings to the last,
            None neither.
        use_scale: whether attention scores are divided by the root of a head's width.
        relu_before_att: whether queries, keys and values have a ReLU.
        use_wide: whether the logit also has a weight for each id.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: no column is embedded, widths differ, a sequence has pooling "concat", or as the layer.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = DESTINE([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], attention_dim=8)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any] | None = None,
        n_attention_layers: int = 2,
        attention_dim: int = 64,
        num_heads: int = 2,
        att_dropout: float = 0.0,
        residual_mode: ResidualMode | None = "each_layer",
        use_scale: bool = True,
        relu_before_att: bool = False,
        use_wide: bool = False,
    ) -> None:
        super().__init__()
        choice("DESTINE: residual_mode", residual_mode, ["each_layer", "last_layer", None])
        self.features = pooled_features("DESTINE", "features", features)
        embed_dim = fields_of("DESTINE", "features", self.features)[0].embed_dim
        self.embedding = EmbeddingLayer(self.features)
        self.stack = FieldStack(self.features)
        widths = [embed_dim, *[attention_dim] * (whole_number("DESTINE: n_attention_layers", n_attention_layers) - 1)]
        options = (attention_dim, num_heads, att_dropout, residual_mode == "each_layer", use_scale, relu_before_att)
        self.attention = nn.Sequential(*[DisentangledSelfAttention(width, *options) for width in widths])
        self.residual = nn.Linear(embed_dim, attention_dim) if residual_mode == "last_layer" else None
        self.fc = nn.Linear(self.stack.num_fields * attention_dim, 1)
        self.linear = FeatureLinear(self.features) if use_wide else None
        n_input = sum(feature.embed_dim for feature in self.features)
        self.mlp = None if mlp_params is None else MLP(n_input, **arguments_of_mlp("DESTINE", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        fields = self.stack(embedded)  # (B, F, D)
        attended = self.attention(fields)  # (B, F, attention_dim)
        if self.residual is not None:
            attended = attended + self.residual(fields)
        logits = self.fc(attended.flatten(1))
        if self.linear is not None:
            logits = logits + self.linear(x)
        if self.mlp is not None:
            logits = logits + embedded.through(self.mlp, self.features)
        return logits.squeeze(1)
