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

    Song et al., *AutoInt*, CIKM 2019, eq. 5-8. Deviations, as in the existing package: the scores are divided by ``sqrt(D / num_heads)``,
    which the paper does not do; the attention weights may have dropout; the ReLU is applied without ``residual`` too.

    Args:
        embed_dim: width of an embedding, D; the output has the same width.
        num_heads: number of heads; it must divide ``embed_dim``.
        dropout: probability that an attention weight is set to zero in training, in [0, 1).
        residual: add ``W_Res x``.

    Shape:
        ``(B, F, D)`` -> ``(B, F, D)``.

    Raises:
        ValueError: ``num_heads`` does not divide ``embed_dim``, or ``dropout`` is out of range.

    Example:
        >>> InteractingLayer(8, num_heads=2)(torch.ones(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, embed_dim: int, num_heads: int = 2, dropout: float = 0.0, residual: bool = True) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"InteractingLayer: num_heads must divide embed_dim={embed_dim}; got num_heads={num_heads}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"InteractingLayer: dropout must be >= 0 and < 1; got {dropout!r}.")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.scale = self.head_dim**-0.5
        self.dropout = dropout
        self.residual = residual
        self.W_Q = nn.Linear(embed_dim, embed_dim, bias=False)
        self.W_K = nn.Linear(embed_dim, embed_dim, bias=False)
        self.W_V = nn.Linear(embed_dim, embed_dim, bias=False)
        self.W_Res = nn.Linear(embed_dim, embed_dim, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """Each field, as a weighted mean of the fields it attends to."""
        query, key, value = (self._split_heads(w(x)) for w in (self.W_Q, self.W_K, self.W_V))  # (B, heads, F, D / heads)
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
        out = attended.transpose(1, 2).flatten(start_dim=2)  # (B, F, D)
        return torch.relu(out if self.W_Res is None else out + self.W_Res(x))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
