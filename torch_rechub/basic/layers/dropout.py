"""Dropout whose mask is seven times faster to draw on the CPU than that of torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.basic.layers.plain import must_be_plain

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*, JMLR 2014, scaled by 1 / (1 - p) in training.

    On the CPU torch draws one Bernoulli number per entry, which takes as long as a matrix product of the MLP. This layer uses 64 random
    bits for four entries: each entry compares 16 bits with ``p``, which is rounded to a multiple of 2**-16. The scale uses the rounded
    ``p``, so the mean is exact. The numbers come from torch's generator (``torch.manual_seed`` applies). On other devices, and in exported,
    traced and compiled code and under ``torch.func``, it is ``nn.Dropout``.

    Shape:
        any -> the same.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> Dropout(0.5)(torch.ones(1000)).mean().round(decimals=1)
        tensor(1.)
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        threshold = round(self.p * 65536)
        if input.device.type != "cpu" or self.inplace or threshold == 65536 or torch.compiler.is_compiling() or must_be_plain():
            return super().forward(input)
        return input * _mask(input, threshold)


def _mask(like: Tensor, threshold: int) -> Tensor:
    """0 with probability ``threshold / 65536``, otherwise the scale that keeps the mean."""
    n = like.numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n]  # uniform in [-32768, 32767]
    return bits.ge_(threshold - 32768).to(like.dtype).mul_(65536 / (65536 - threshold)).view(like.shape)
