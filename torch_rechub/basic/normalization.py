"""Batch normalisation over some of the rows of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["masked_batch_norm"]


def masked_batch_norm(
    x: Tensor,
    mask: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``nn.functional.batch_norm`` with the mean and the variance of the rows where ``mask`` is True.

    The positions of lists that are only padding are no rows of the data: with them, the statistics would depend on the length to which
    lists are padded. All rows are normalised, the others by the same statistics. Where at most one row counts in training, the running
    statistics are used and do not change.

    Shape:
        ``x`` ``(B, n)``, ``mask`` ``(B,)`` -> ``(B, n)``.

    Example:
        >>> masked_batch_norm(torch.tensor([[1.0], [3.0], [99.0]]), torch.tensor([True, True, False]), None, None, training=True)[:2]
        tensor([[-1.0000],
                [ 1.0000]])
    """
    mean, var = running_mean, running_var
    if training:
        counts = mask.unsqueeze(1)  # (B, 1)
        n_row = mask.sum()
        mean = torch.where(counts, x, 0.0).sum(0) / n_row.clamp(min=1)
        var = torch.where(counts, (x - mean).square(), 0.0).sum(0) / n_row.clamp(min=1)
        if running_mean is not None and running_var is not None:
            several = n_row > 1
            old = running_mean.clone(), running_var.clone()
            with torch.no_grad():
                unbiased = var * n_row / (n_row - 1).clamp(min=1)
                running_mean.copy_(torch.where(several, running_mean.lerp(mean.to(running_mean.dtype), momentum), running_mean))
                running_var.copy_(torch.where(several, running_var.lerp(unbiased.to(running_var.dtype), momentum), running_var))
            mean, var = torch.where(several, mean, old[0]), torch.where(several, var, old[1])
    assert mean is not None
    assert var is not None
    scale = torch.rsqrt(var + eps)
    normalised = (x - mean) * (scale if weight is None else scale * weight)
    return (normalised if bias is None else normalised + bias).to(x.dtype)
