"""Batch normalisation that accepts a training batch of one row."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.basic.layers.plain import must_be_plain
from torch_rechub.basic.normalization import masked_batch_norm

__all__ = ["BatchNorm1d"]


class BatchNorm1d(nn.BatchNorm1d):
    """``nn.BatchNorm1d``, except for a training batch with one value per channel.

    Ioffe & Szegedy, *Batch Normalization*, ICML 2015, algorithm 1. ``nn.BatchNorm1d`` raises an error for a single value, because it has no
    variance. This layer normalises it by the running statistics and does not change them;
    an exported or traced model is ``nn.BatchNorm1d``.

    Shape:
        ``(B, n)`` -> ``(B, n)``, or ``(B, n, L)`` -> ``(B, n, L)``. With a ``mask`` ``(B,)`` for ``(B, n)`` the statistics are those of the
        rows where it is True.

    Example:
        >>> import torch
        >>> BatchNorm1d(2)(torch.tensor([[1.0, 2.0]])).shape  # in training mode
        torch.Size([1, 2])
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise each channel."""
        if mask is not None:
            return self._over(mask, input)
        if self.training and self.running_mean is not None and not must_be_plain() and input.numel() == self.num_features:
            self._check_input_dim(input)
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(input)

    def _over(self, mask: Tensor, input: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        statistics = (self.running_mean, self.running_var, self.weight, self.bias)
        training = self.training or self.running_mean is None
        return masked_batch_norm(input, mask, *statistics, training=training, momentum=momentum, eps=self.eps)
