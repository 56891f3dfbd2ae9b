"""Cross networks without a deep one: half of each cross is masked by itself, and the degree may double with each layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.dense import Linear
from torch_rechub.basic.layers.dropout import Dropout

__all__ = ["SelfMaskCrossNetwork"]


@named_arguments
class SelfMaskCrossNetwork(nn.Module):
    """``x_{l+1} = z * ([h, h * relu(LN(h))] + b_l) + x_l`` with ``h = W_l x_l``, half as wide: the cross networks of FCN (DCNv3).

    Li, Zhang, Zhang, Li, Sang and Zhu, *FCN: Fusing Exponential and Linear Cross Network for Click-Through Rate Prediction*, 2024 (arXiv
    2407.13349), as in the authors' code. ``z`` is ``x_l`` in the exponential network, whose degree doubles with each layer, and ``x_0`` in
    the linear one. Deviation: the biases begin at 0; those of the authors' code begin with uniform numbers in [0, 1].

    Args:
        input_dim: number of inputs, even.
        num_layers: number of layers.
        exponential: whether ``z`` is the layer's own input.
        dropout: probability that an output of a layer is set to zero in training, in [0, 1).
        layer_norm: whether the mask has a layer normalisation.

    Shape:
        ``(B, input_dim)`` -> ``(B, input_dim)``.

    Raises:
        ValueError: ``input_dim`` is odd, or ``dropout`` is out of range.

    Example:
        >>> SelfMaskCrossNetwork(4, num_layers=2)(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self, input_dim: int, num_layers: int = 3, exponential: bool = True, dropout: float = 0.0, layer_norm: bool = True
    ) -> None:
        super().__init__()
        if input_dim % 2 or not 0 <= dropout < 1:
            must = "input_dim must be even, and dropout be in [0, 1)"
            raise ValueError(f"SelfMaskCrossNetwork: {must}; got input_dim={input_dim!r}, dropout={dropout!r}.")
        self.num_layers = num_layers
        self.exponential = exponential
        self.w = nn.ModuleList([Linear(input_dim, input_dim // 2, bias=False) for _ in range(num_layers)])
        self.b = nn.ParameterList([nn.Parameter(torch.zeros(input_dim)) for _ in range(num_layers)])
        self.norm = nn.ModuleList([nn.LayerNorm(input_dim // 2) if layer_norm else nn.Identity() for _ in range(num_layers)])
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers in order."""
        first = x
        for w, b, norm in zip(self.w, self.b, self.norm, strict=True):
            half = w(x)
            crossed = torch.cat([half, half * torch.relu(norm(half))], dim=1) + b
            x = self.dropout(torch.addcmul(x, x if self.exponential else first, crossed))
        return x
