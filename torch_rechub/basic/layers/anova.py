"""Products of any number of distinct fields, in linear time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number

__all__ = ["ANOVA"]


@named_arguments
class ANOVA(nn.Module):
    """``A^m = sum over i_1 < ... < i_m of x_{i_1} * ... * x_{i_m}`` in each embedding dimension, for ``m = 1 .. order``.

    These are the ANOVA kernels of Blondel et al., *Higher-Order Factorization Machines*, NIPS 2016. By Newton's identities they follow
    from the power sums ``p_t = sum_i x_i^t``: ``A^m = 1/m * sum_{t=1}^m (-1)^(t+1) * A^(m-t) * p_t`` (Yu et al., *Deep Interaction
    Machine*, CIKM 2020). The cost is linear in F and in ``order``, as that of the dynamic programme of the former paper. The steps of the
    programme go from field to field; here each step covers all fields.

    Args:
        order: the largest number of fields in a product.

    Shape:
        ``(B, F, D)`` -> ``(B, order, D)``; orders above F are 0, to rounding.

    Raises:
        ValueError: ``order`` is below 1.

    Example:
        >>> ANOVA(3)(torch.tensor([[[1.0], [2.0], [3.0]]])).flatten()  # 1 + 2 + 3, 1 * 2 + 1 * 3 + 2 * 3, 1 * 2 * 3
        tensor([ 6., 11.,  6.])
    """

    def __init__(self, order: int) -> None:
        super().__init__()
        self.order = whole_number("ANOVA: order", order)

    def forward(self, x: Tensor) -> Tensor:
        """All orders."""
        powers, sums = x, [x.sum(1)]  # (B, F, D), (B, D) each
        for _ in range(self.order - 1):
            powers = powers * x
            sums.append(powers.sum(1))
        kernels = [sums[0]]
        for m in range(2, self.order + 1):
            total = sums[m - 1] if m % 2 else -sums[m - 1]
            for t in range(1, m):
                total = torch.addcmul(total, kernels[m - t - 1], sums[t - 1], value=1 if t % 2 else -1)
            kernels.append(total / m)
        return torch.stack(kernels, dim=1)  # (B, order, D)
