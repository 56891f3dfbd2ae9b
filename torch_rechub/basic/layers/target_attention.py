"""Attention of a target to a history, by products of projections and by hashes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.layers.mask import masked_softmax

__all__ = ["HashAttention", "TargetAttention"]


@named_arguments
class TargetAttention(nn.Module):
    """Heads of attention of a target to the entries of a history, each a weighted mean of the entries.

    ``head_i = sum_j softmax_j((W_bi z_j) . (W_ai t)) z_j`` (Pi et al., *Search-based User Interest Modeling with Lifelong Sequential
    Behavior Data for Click-Through Rate Prediction*, CIKM 2020, eq. 5), concatenated. Deviation: the products are divided by the square
    root of their width (Vaswani et al., NeurIPS 2017, eq. 1).

    Args:
        embed_dim: width of an entry and of the target, D.
        num_heads: number of heads, H.
        attention_dim: width of the projections of a head; None means D.

    Shape:
        history ``(B, L, D)``, target ``(B, D)``, mask ``(B, L)`` that is True where an entry counts -> ``(B, H * D)``; zeros for a row
        without an entry that counts.

    Example:
        >>> TargetAttention(4, num_heads=2)(torch.ones(3, 5, 4), torch.ones(3, 4), torch.ones(3, 5, dtype=torch.bool)).shape
        torch.Size([3, 8])
    """

    def __init__(self, embed_dim: int, num_heads: int = 2, attention_dim: int | None = None) -> None:
        super().__init__()
        self.num_heads = whole_number("TargetAttention: num_heads", num_heads)
        width = embed_dim if attention_dim is None else whole_number("TargetAttention: attention_dim", attention_dim)
        self.to_key = nn.Linear(embed_dim, self.num_heads * width, bias=False)
        self.to_query = nn.Linear(embed_dim, self.num_heads * width, bias=False)
        self.scale = width**-0.5

    def forward(self, history: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """The heads side by side."""
        keys = self.to_key(history).unflatten(2, (self.num_heads, -1))  # (B, L, H, d)
        query = self.to_query(target).unflatten(1, (self.num_heads, -1))  # (B, H, d)
        scores = torch.einsum("blhd,bhd->bhl", keys, query) * self.scale
        return torch.bmm(masked_softmax(scores, mask.unsqueeze(1)), history).flatten(1)


@named_arguments
class HashAttention(nn.Module):
    """The entries of a history that have the hash of the target, instead of an attention to all of them.

    Each of ``n_hash / hash_bits`` signatures is made of the signs of ``hash_bits`` random projections. The entries with the target's
    signature are summed, the sum is divided by its Euclidean norm, and the result is the mean over the signatures (Cao et al., *Sampling
    Is All You Need on Modeling Long-Term User Behaviors for CTR Prediction*, CIKM 2022, section 4, with the (m, tau)-parametrised SimHash).
    Two vectors have an equal sign with the probability ``1 - angle / pi``, so that similar entries count more often. The layer has no
    weights; its projections are saved with the model.

    Args:
        embed_dim: width of an entry and of the target, D.
        n_hash: number of random projections, m.
        hash_bits: number of projections in a signature, tau; it must divide ``n_hash``.

    Shape:
        history ``(B, L, D)``, target ``(B, D)``, mask ``(B, L)`` that is True where an entry counts -> ``(B, D)``.

    Raises:
        ValueError: ``hash_bits`` does not divide ``n_hash``.

    Example:
        >>> HashAttention(4, n_hash=6, hash_bits=2)(torch.ones(3, 5, 4), torch.ones(3, 4), torch.ones(3, 5, dtype=torch.bool)).norm(dim=1)
        tensor([1., 1., 1.])
    """

    projections: Tensor

    def __init__(self, embed_dim: int, n_hash: int = 48, hash_bits: int = 3) -> None:
        super().__init__()
        self.hash_bits = whole_number("HashAttention: hash_bits", hash_bits)
        if whole_number("HashAttention: n_hash", n_hash) % self.hash_bits:
            raise ValueError(f"HashAttention: hash_bits must divide n_hash={n_hash}; got {hash_bits}.")
        self.register_buffer("projections", torch.randn(embed_dim, n_hash))

    def forward(self, history: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """The mean over signatures of the normalised sums."""
        equal = (history.detach() @ self.projections > 0) == (target.detach() @ self.projections > 0).unsqueeze(1)  # (B, L, m)
        counts = equal.unflatten(2, (-1, self.hash_bits)).all(3) & mask.unsqueeze(2)  # (B, L, m / tau)
        sums = torch.bmm(counts.transpose(1, 2).to(history.dtype), history)  # (B, m / tau, D)
        return F.normalize(sums, dim=2, eps=torch.finfo(sums.dtype).tiny).mean(1)
