"""Dropout whose mask costs a seventh of torch's on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*, JMLR 2014, scaled by 1 / (1 - p) in training.

    On the CPU torch draws one Bernoulli number an entry, which takes as long as a matrix product of the MLP. Here 64 random bits make
    four entries: each compares 16 of them with ``p``, which is thereby rounded to the next multiple of 2**-16; the scale is that of the
    rounded ``p``, so the mean is kept exactly. The random state is torch's own (``torch.manual_seed`` governs). On other devices, in
    exported and compiled code, it is ``nn.Dropout``.

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
        drop = round(self.p * 65536)
        if input.device.type != "cpu" or self.inplace or drop == 65536 or torch.compiler.is_compiling():
            return super().forward(input)
        return input * _mask(input, drop)


def _mask(like: Tensor, drop: int) -> Tensor:
    """Zero with probability ``drop / 65536``, otherwise the scale that keeps the mean."""
    n = like.numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n]  # uniform in [-32768, 32767]
    return bits.ge_(drop - 32768).to(like.dtype).mul_(65536 / (65536 - drop)).view(like.shape)
