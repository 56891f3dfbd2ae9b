"""QNN-alpha. Li, Zhang, Zhang, Sang and Zhu, *Revisiting Feature Interactions from the Perspective of Quadratic Neural Networks*, 2025."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from torch_rechub.arguments import choice, named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import Dropout, EmbeddingLayer, FieldStack, Linear
from torch_rechub.basic.layers.mlp import NORMS, Norm
from torch_rechub.models.arguments import fields_of, pooled_features
from torch_rechub.models.base import AuxiliaryLossModel
from torch_rechub.models.distillation import distillation_loss
from torch_rechub.types import Features, Scores

__all__ = ["QNNAlpha"]


@named_arguments
class QNNAlpha(AuxiliaryLossModel):
    """Quadratic layers: ``x_{l+1} = sum_r heads(x_l) * h_r + x_l`` with ``h = relu(norm(W x_l + b))``, then a linear layer.

    Li et al., arXiv 2505.17999, 2025: the neuron QNN-alpha with the multi-head Khatri-Rao product, here as the authors' code has it:
    ``heads`` puts the columns of the first head of all fields first, then those of the second, and so on, while ``x_l`` that is added
    keeps its order. The products of ``x`` and the rows of ``h`` are summed over the rows, so ``h`` is summed first here. In training the
    batch passes the layers twice with different dropout, the prediction p is the mean of both probabilities, and each learns from it:
    ``loss = BCE(p, y) + BCE(p_1, p) + BCE(p_2, p)`` with a constant p in the last two (self-ensemble loss). Deviation: all dense columns
    together are one further field (:class:`~torch_rechub.basic.layers.FieldStack`).

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        n_layers: number of layers.
        num_rows: number of rows R of a layer's product.
        num_heads: number of heads; it must divide ``embed_dim``.
        dropout: probability that an entry of ``h``, or of a layer's output, is set to zero in training, in [0, 1).
        norm: "batch", "layer", or None.
        self_ensemble: whether training passes the batch twice.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: no column is embedded, widths differ or are no multiple of ``num_heads``, a sequence has pooling "concat", or
            ``dropout`` or ``norm`` is out of range.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = QNNAlpha([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)])
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    stops_gradient = True

    def __init__(
        self,
        features: Sequence[Feature],
        n_layers: int = 3,
        num_rows: int = 3,
        num_heads: int = 1,
        dropout: float = 0.1,
        norm: Norm | None = "batch",
        self_ensemble: bool = True,
    ) -> None:
        super().__init__()
        choice("QNNAlpha: norm", norm, [*NORMS, None])
        self.features = pooled_features("QNNAlpha", "features", features)
        embed_dim = fields_of("QNNAlpha", "features", self.features)[0].embed_dim
        if embed_dim % whole_number("QNNAlpha: num_heads", num_heads):
            raise ValueError(f"QNNAlpha: num_heads must divide embed_dim={embed_dim} of features; got num_heads={num_heads}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"QNNAlpha: dropout must be >= 0 and < 1; got {dropout!r}.")
        self.embedding = EmbeddingLayer(self.features)
        self.stack = FieldStack(self.features)
        shape = (self.stack.num_fields, num_heads, embed_dim // num_heads)
        layers = [_QuadraticLayer(shape, num_rows, dropout, norm) for _ in range(whole_number("QNNAlpha: n_layers", n_layers))]
        self.layers = nn.Sequential(*layers, nn.Linear(self.stack.num_fields * embed_dim, 1))
        self.self_ensemble = self_ensemble

    def outputs(self, x: Features) -> tuple[Scores, tuple[Tensor, ...]]:
        """The logits; in training those of the mean of two predictions, and both."""
        inputs = self.stack(self.embedding.look_up(x, self.features)).flatten(1)  # (B, F * D)
        first = self.layers(inputs).squeeze(1)
        if not (self.training and self.self_ensemble):
            return first, ()
        second = self.layers(inputs).squeeze(1)
        positive, negative = (torch.logaddexp(logsigmoid(sign * first), logsigmoid(sign * second)) for sign in (1, -1))
        return positive - negative, (first, second)

    def auxiliary_loss(self, logits: Scores, parts: tuple[Tensor, ...], y: Tensor, weight: Tensor | None) -> Tensor:
        """The cross-entropy of each pass and the mean prediction."""
        return distillation_loss(logits, parts, weight)


class _QuadraticLayer(nn.Module):
    """``heads(x) * sum_r h_r + x``, with dropout of ``h`` and of the output.

    Args:
        shape: fields, heads, and columns of a head in a field.
        num_rows: number of rows of ``h``.
        dropout: see the model.
        norm: see the model.
    """

    def __init__(self, shape: tuple[int, int, int], num_rows: int, dropout: float, norm: Norm | None) -> None:
        super().__init__()
        self.shape = shape
        width, n_hidden = shape[0] * shape[1] * shape[2], shape[0] * shape[1] * shape[2] * num_rows
        norms = [] if norm is None else [NORMS[norm](n_hidden)]
        self.hidden = nn.Sequential(Linear(width, n_hidden), *norms, nn.ReLU(), Dropout(dropout), nn.Unflatten(1, (num_rows, width)))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """The products with the rows, summed, and the input."""
        factors = self.hidden(x).sum(dim=1)  # (B, F * D)
        heads = x.unflatten(1, self.shape).transpose(1, 2).flatten(1) if self.shape[1] > 1 else x
        return self.dropout(torch.addcmul(x, heads, factors))
