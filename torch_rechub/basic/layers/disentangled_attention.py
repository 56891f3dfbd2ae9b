"""Self-attention over the fields, with a pairwise and a unary term."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.dropout import Dropout

__all__ = ["DisentangledSelfAttention"]


@named_arguments
class DisentangledSelfAttention(nn.Module):
    """``sum_n (softmax_n((q_m - mean q)' (k_n - mean k)) + softmax_n(u_n)) v_n + W_res x_m``: the attention of DESTINE.

    Xu, Zhu, Liu, Wu, Wang, *Disentangled Self-Attentive Neural Networks for Click-Through Rate Prediction*, CIKM 2021, eq. 7-11. ``q``,
    ``k`` and ``v`` are linear maps of the fields, ``u`` is one number a field. Queries and keys have no bias, and ``u`` has none, because
    it would cancel, except with ``relu``. Difference from the authors' code: it cuts the heads across fields and columns, and here each
    head has columns of its own in every field, as the paper says.

    Args:
        embed_dim: width of a field, D.
        attention_dim: width of the output.
        num_heads: number of heads; it must divide ``attention_dim``.
        dropout: probability that an attention weight is set to zero in training, in [0, 1).
        residual: add ``W_res x``.
        scale: divide the pairwise scores by ``sqrt(attention_dim / num_heads)``.
        relu: apply a ReLU to queries, keys and values.

    Shape:
        ``(B, F, D)`` -> ``(B, F, attention_dim)``.

    Raises:
        ValueError: ``num_heads`` does not divide ``attention_dim``, or ``dropout`` is out of range.

    Example:
        >>> DisentangledSelfAttention(4, attention_dim=6, num_heads=2)(torch.ones(2, 5, 4)).shape
        torch.Size([2, 5, 6])
    """

    def __init__(
        self,
        embed_dim: int,
        attention_dim: int = 64,
        num_heads: int = 1,
        dropout: float = 0.0,
        residual: bool = True,
        scale: bool = False,
        relu: bool = False,
    ) -> None:
        super().__init__()
        if num_heads < 1 or attention_dim % num_heads:
            raise ValueError(f"DisentangledSelfAttention: num_heads must divide attention_dim={attention_dim}; got num_heads={num_heads}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"DisentangledSelfAttention: dropout must be >= 0 and < 1; got {dropout!r}.")
        self.num_heads = num_heads
        self.factor = (attention_dim // num_heads) ** -0.5 if scale else 1.0
        self.relu = relu
        self.W_Q = nn.Linear(embed_dim, attention_dim, bias=relu)
        self.W_K = nn.Linear(embed_dim, attention_dim, bias=relu)
        self.W_V = nn.Linear(embed_dim, attention_dim)
        self.W_unary = nn.Linear(embed_dim, num_heads, bias=False)
        self.W_Res = nn.Linear(embed_dim, attention_dim) if residual else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Each field, as a weighted sum of all fields."""
        query, key, value = (self._split_heads(w(x)) for w in (self.W_Q, self.W_K, self.W_V))  # (B, heads, F, D / heads)
        query, key = (part - part.mean(dim=2, keepdim=True) for part in (query, key))
        pairwise = torch.softmax(query @ key.transpose(2, 3) * self.factor, dim=3)  # (B, heads, F, F)
        unary = torch.softmax(self.W_unary(x), dim=1).transpose(1, 2).unsqueeze(2)  # (B, heads, 1, F)
        out = (self.dropout(pairwise + unary) @ value).transpose(1, 2).flatten(start_dim=2)  # (B, F, attention_dim)
        return out if self.W_Res is None else out + self.W_Res(x)

    def _split_heads(self, x: Tensor) -> Tensor:
        x = torch.relu(x) if self.relu else x
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
