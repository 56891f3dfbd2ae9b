"""Batch normalisation that accepts a training batch of one row."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.basic.layers.plain import must_be_plain

__all__ = ["BatchNorm1d"]


class BatchNorm1d(nn.BatchNorm1d):
    """``nn.BatchNorm1d``, except for a training batch with one value per channel.

    Ioffe & Szegedy, *Batch Normalization*, ICML 2015, algorithm 1. ``nn.BatchNorm1d`` raises an error for a single value, because it has no
    variance. This layer normalises it by the running statistics and does not change them;
    an exported or traced model is ``nn.BatchNorm1d``.

    Shape:
        ``(B, n)`` -> ``(B, n)``, or ``(B, n, L)`` -> ``(B, n, L)``.

    Example:
        >>> import torch
        >>> BatchNorm1d(2)(torch.tensor([[1.0, 2.0]])).shape  # in training mode
        torch.Size([1, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel."""
        if self.training and self.running_mean is not None and not must_be_plain() and input.numel() == self.num_features:
            self._check_input_dim(input)
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(input)
