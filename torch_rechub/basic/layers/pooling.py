"""Pooling of sequences of embeddings.

Each layer takes an optional mask ``(B, 1, L)`` of ones and zeros (see :class:`InputMask`); without a mask all positions are used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["AveragePooling", "ConcatPooling", "SumPooling"]


class ConcatPooling(nn.Module):
    """No pooling: all ``L`` embeddings are returned, including those of padding ids.

    Shape:
        ``(B, L, D)`` -> ``(B, L, D)``.

    Example:
        >>> ConcatPooling()(torch.ones(2, 5, 3)).shape
        torch.Size([2, 5, 3])
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` itself."""
        return x


class SumPooling(nn.Module):
    """The sum of the embeddings where the mask is 1; 0 for a row of padding only.

    Shape:
        ``x`` ``(B, L, D)``, ``mask`` ``(B, 1, L)`` -> ``(B, D)``.

    Example:
        >>> SumPooling()(torch.ones(1, 3, 2), torch.tensor([[[1.0, 1.0, 0.0]]]))
        tensor([[2., 2.]])
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sum over ``L``."""
        return x.sum(dim=1) if mask is None else torch.bmm(mask.to(x.dtype), x).squeeze(1)  # (B, 1, L) x (B, L, D)


class AveragePooling(nn.Module):
    """The mean of the embeddings where the mask is 1; 0 for a row of padding only.

    Shape:
        ``x`` ``(B, L, D)``, ``mask`` ``(B, 1, L)`` -> ``(B, D)``.

    Example:
        >>> AveragePooling()(torch.ones(2, 3, 2), torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]]))
        tensor([[1., 1.],
                [0., 0.]])
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean over ``L``."""
        if mask is None:
            return x.sum(dim=1) / max(x.shape[1], 1)
        weights = mask.to(x.dtype)
        return torch.bmm(weights, x).squeeze(1) / weights.sum(dim=-1).clamp(min=1)
