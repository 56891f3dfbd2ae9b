"""FCN, also DCNv3. Li et al., *FCN: Fusing Exponential and Linear Cross Network for Click-Through Rate Prediction*, 2024."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import EmbeddingLayer, FieldStack, SelfMaskCrossNetwork
from torch_rechub.basic.loss_func import prediction_loss
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import AuxiliaryLossModel
from torch_rechub.types import Features, Scores

__all__ = ["FCN"]

_BCE_OF_LOGITS = nn.BCEWithLogitsLoss()


@named_arguments
class FCN(AuxiliaryLossModel):
    """An exponential and a linear cross network, each with a loss of its own, and no deep network.

    Li, Zhang, Zhang, Li, Sang and Zhu, arXiv 2407.13349, with the layers :class:`~torch_rechub.basic.layers.SelfMaskCrossNetwork`:
    ``logit = (logit_E + logit_L) / 2``. In training ``loss = L + w_E L_E + w_L L_L`` with the cross-entropies L of the three logits
    and ``w_E = max(0, L_E - L)``, ``w_L = max(0, L_L - L)`` (Tri-BCE); as in the authors' code the weights have a gradient, and
    they are those of the batch. Each embedding is cut into heads, which share the networks, and each head into two halves: the input is the
    first halves of all fields, then the second ones. The logits of the heads are averaged. Deviation: all dense columns together
    are one further field (:class:`~torch_rechub.basic.layers.FieldStack`).

    Args:
        features: all columns; the embedded ones have one ``embed_dim``, a multiple of ``2 * num_heads``.
        n_exponential_layers: number of layers of the exponential cross network.
        n_linear_layers: of the linear one.
        exponential_dropout: probability that an output of an exponential layer is set to zero in training, in [0, 1).
        linear_dropout: of a linear one.
        num_heads: number of heads.
        layer_norm: whether masks have a layer normalisation.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: no column is embedded, widths differ or are no multiple of ``2 * num_heads``, or a sequence has pooling "concat".

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = FCN([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)])
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        n_exponential_layers: int = 4,
        n_linear_layers: int = 4,
        exponential_dropout: float = 0.1,
        linear_dropout: float = 0.3,
        num_heads: int = 1,
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        self.features = pooled_features("FCN", "features", features)
        embed_dim = fields_of("FCN", "features", self.features)[0].embed_dim
        self.num_heads = whole_number("FCN: num_heads", num_heads)
        if embed_dim % (2 * num_heads):
            raise ValueError(f"FCN: embed_dim must be a multiple of 2 * num_heads = {2 * num_heads}; got {embed_dim} in features.")
        self.embedding = EmbeddingLayer(self.features)
        self.stack = FieldStack(self.features)
        width = self.stack.num_fields * embed_dim // num_heads
        layers = {True: (n_exponential_layers, exponential_dropout), False: (n_linear_layers, linear_dropout)}
        exponential, linear = (SelfMaskCrossNetwork(width, n, kind, dropout, layer_norm) for kind, (n, dropout) in layers.items())
        self.exponential = nn.Sequential(exponential, nn.Linear(width, 1))
        self.linear = nn.Sequential(linear, nn.Linear(width, 1))

    def outputs(self, x: Features) -> tuple[Scores, tuple[Tensor, ...]]:
        """The mean of the networks' logits, and both."""
        fields = self.stack(self.embedding.look_up(x, self.features))  # (B, F, D)
        halves = fields.unflatten(2, (self.num_heads, 2, -1)).permute(0, 2, 3, 1, 4)  # (B, heads, 2, F, D / (2 * heads))
        rows = halves.flatten(2).flatten(0, 1)  # (B * heads, F * D / heads)
        first, second = (network(rows).view(-1, self.num_heads).mean(dim=1) for network in (self.exponential, self.linear))
        return 0.5 * (first + second), (first, second)

    def auxiliary_loss(self, logits: Scores, parts: tuple[Tensor, ...], y: Tensor, weight: Tensor | None) -> Tensor:
        """The cross-entropy of each network, times its excess over that of both."""
        both, *each = (prediction_loss(_BCE_OF_LOGITS, part, y, weight) for part in (logits, *parts))
        return sum((loss * torch.relu(loss - both) for loss in each), both.new_zeros(()))
