"""All pairs of fields in linear time."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["FM"]


class FM(nn.Module):
    """The second-order part of a factorization machine: the sum of ``x_i * x_j`` over all pairs of fields.

    ``1/2 * ((sum_i x_i)^2 - sum_i x_i^2)`` in each dimension (Rendle, *Factorization Machines*, ICDM 2010, lemma 3.1), linear in F.

    Args:
        reduce_sum: sum over the embedding too, which gives inner products; False keeps it (bi-interaction pooling: He & Chua,
            *Neural Factorization Machines*, SIGIR 2017, eq. 4).

    Shape:
        ``(B, F, D)`` -> ``(B, 1)``, or ``(B, D)`` when the sum is not reduced.

    Example:
        >>> import torch
        >>> FM()(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))  # 1 * 3 + 2 * 4
        tensor([[11.]])
    """

    def __init__(self, reduce_sum: bool = True) -> None:
        super().__init__()
        self.reduce_sum = reduce_sum

    def forward(self, x: Tensor) -> Tensor:
        """The interactions of all pairs."""
        total = x.sum(dim=1)  # (B, D)
        if not self.reduce_sum:
            return 0.5 * (total.square() - x.square().sum(dim=1))
        squares = x.flatten(start_dim=1).square().sum(dim=1, keepdim=True)  # (B, 1) at once, with no (B, D) between
        return 0.5 * (total.square().sum(dim=1, keepdim=True) - squares)
