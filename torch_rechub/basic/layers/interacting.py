"""Self-attention over the fields."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments

__all__ = ["InteractingLayer"]


@named_arguments
class InteractingLayer(nn.Module):
    """Multi-head self-attention over the fields, then ``relu(heads + W_Res x)``.

    Song et al., *AutoInt*, CIKM 2019, eq. 5-8. Deviations, as in the existing package: the scores are divided by the square root of a
    head's width, which the paper does not do (``scale=False``); the attention weights may have dropout; the ReLU is applied without
    ``residual`` too.

    Args:
        embed_dim: width of an embedding, D.
        num_heads: number of heads; it must divide the width of the output.
        dropout: probability that an attention weight is set to zero in training, in [0, 1).
        residual: add ``W_Res x``.
        attention_dim: width of the output, all heads together; None is ``embed_dim``.
        scale: divide the scores by the square root of a head's width.

    Shape:
        ``(B, F, D)`` -> ``(B, F, attention_dim)``.

    Raises:
        ValueError: ``num_heads`` does not divide the width of the output, or ``dropout`` is out of range.

    Example:
        >>> InteractingLayer(8, num_heads=2)(torch.ones(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int = 2,
        dropout: float = 0.0,
        residual: bool = True,
        *,
        attention_dim: int | None = None,
        scale: bool = True,
    ) -> None:
        super().__init__()
        name, width = ("embed_dim", embed_dim) if attention_dim is None else ("attention_dim", attention_dim)
        if num_heads < 1 or width % num_heads:
            raise ValueError(f"InteractingLayer: num_heads must divide {name}={width}; got num_heads={num_heads}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"InteractingLayer: dropout must be >= 0 and < 1; got {dropout!r}.")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = width // num_heads
        self.scale = self.head_dim**-0.5 if scale else 1.0
        self.dropout = dropout
        self.residual = residual
        self.W_Q = nn.Linear(embed_dim, width, bias=False)
        self.W_K = nn.Linear(embed_dim, width, bias=False)
        self.W_V = nn.Linear(embed_dim, width, bias=False)
        self.W_Res = nn.Linear(embed_dim, width, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """Each field, as a weighted mean of the fields it attends to."""
        query, key, value = (self._split_heads(w(x)) for w in (self.W_Q, self.W_K, self.W_V))  # (B, heads, F, D / heads)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
        out = attended.transpose(1, 2).flatten(start_dim=2)  # (B, F, attention_dim)
        return torch.relu(out if self.W_Res is None else out + self.W_Res(x))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
