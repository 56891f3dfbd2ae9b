"""Gated cross network: each cross is multiplied by a gate of its entries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.dense import Linear

__all__ = ["GatedCrossNetwork"]


@named_arguments
class GatedCrossNetwork(nn.Module):
    """``x_{l+1} = x_0 * (W_c x_l + b_l) * sigmoid(W_g x_l) + x_l``: the gated cross network of GDCN.

    Wang, Gu, Zhang, Lu and Gu, *Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction*, CIKM 2023, eq. 2. ``W_c`` and
    ``W_g`` of a layer are one matrix, so that both are one product. Deviation: the biases begin at 0; the authors' code begins with uniform
    numbers in [0, 1].

    Args:
        input_dim: number of inputs.
        num_layers: number of cross layers.

    Shape:
        ``(B, input_dim)`` -> ``(B, input_dim)``.

    Example:
        >>> GatedCrossNetwork(4, num_layers=2)(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.w = nn.ModuleList([Linear(input_dim, 2 * input_dim, bias=False) for _ in range(num_layers)])  # W_c above W_g
        self.b = nn.ParameterList([nn.Parameter(torch.zeros(input_dim)) for _ in range(num_layers)])

    def forward(self, x: Tensor) -> Tensor:
        """Apply all cross layers in order."""
        first = x
        for w, b in zip(self.w, self.b, strict=True):
            cross, gate = w(x).chunk(2, dim=1)
            x = torch.addcmul(x, first * (cross + b), torch.sigmoid(gate))
        return x
