"""A transformer over a sequence whose last position is read alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.dropout import Dropout

__all__ = ["LastPositionTransformer"]


class _Attention(nn.Module):
    """Multi-head attention with the weights and the initial values of ``nn.MultiheadAttention``."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * embed_dim, embed_dim)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        nn.init.zeros_(self.out_proj.bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, sequence: Tensor, mask: Tensor) -> Tensor:
        """``(B, Q, D)`` of queries ``(B, Q, D)``, which attend to the positions ``(B, L, D)`` where ``mask`` ``(B, L)`` is True."""
        to_query, to_pair = self.in_proj_weight.split([query.shape[2], 2 * query.shape[2]])
        query_bias, pair_bias = self.in_proj_bias.split([query.shape[2], 2 * query.shape[2]])
        keys, values = F.linear(sequence, to_pair, pair_bias).chunk(2, dim=2)
        heads = [self._heads(part) for part in (F.linear(query, to_query, query_bias), keys, values)]
        rate = self.dropout.p if self.training else 0.0
        attended = F.scaled_dot_product_attention(*heads, attn_mask=mask[:, None, None], dropout_p=rate)  # (B, H, Q, D / H)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (B, H, L, D / H)


class _Layer(nn.Module):
    """One encoder layer with the weights of ``nn.TransformerEncoderLayer``, for all positions or the last one."""

    def __init__(self, embed_dim: int, num_heads: int, dim_feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = _Attention(embed_dim, num_heads, dropout)
        self.linear1, self.linear2 = nn.Linear(embed_dim, dim_feedforward), nn.Linear(dim_feedforward, embed_dim)
        self.norm1, self.norm2 = nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim)
        self.activation = nn.LeakyReLU()
        self.dropout, self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout), Dropout(dropout)

    def forward(self, sequence: Tensor, mask: Tensor, last_only: bool) -> Tensor:
        """The new embeddings ``(B, L, D)``, or ``(B, 1, D)`` of the last position."""
        query = sequence[:, -1:] if last_only else sequence
        x = self.norm1(query + self.dropout1(self.self_attn(query, sequence, mask)))
        hidden = self.dropout(self.activation(self.linear1(x)))
        return self.norm2(x + self.dropout2(self.linear2(hidden)))


@named_arguments
class LastPositionTransformer(nn.Module):
    """Transformer layers (attention, then a network, each with a residual and layer normalisation behind it), read at the last position.

    Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, section 3, with leaky ReLU as in Chen et al., *Behavior Sequence Transformer
    for E-commerce Recommendation in Alibaba*, DLP-KDD 2019, eq. 5-7. The weights have the names of ``nn.TransformerEncoder``. The last
    layer computes the last position alone, which is all that is read: with one layer the cost grows with L, not with L squared.

    Args:
        embed_dim: width of a position, D.
        num_heads: number of heads; it must divide ``embed_dim``.
        num_layers: number of layers.
        dropout: probability of a zero in the attention and behind each part.
        dim_feedforward: width of the network.

    Shape:
        sequence ``(B, L, D)``, mask ``(B, L)`` that is True where a position counts (the last one always does) -> ``(B, D)``.

    Example:
        >>> import torch
        >>> LastPositionTransformer(4, num_heads=2)(torch.ones(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)).shape
        torch.Size([2, 4])
    """

    def __init__(self, embed_dim: int, num_heads: int = 8, num_layers: int = 1, dropout: float = 0.2, dim_feedforward: int = 2048) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(embed_dim, num_heads, dim_feedforward, dropout) for _ in range(num_layers))

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """The last position after all layers."""
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            sequence = layer(sequence, mask, i == last)
        return sequence[:, -1]
