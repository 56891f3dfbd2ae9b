"""Cross networks: each layer multiplies by the first input again, so the output of layer ``l`` has degree ``l + 1``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.dense import Linear
from torch_rechub.basic.layers.plain import are_plain

__all__ = ["CrossLayer", "CrossNetMix", "CrossNetV2", "CrossNetwork"]


@named_arguments
class CrossLayer(nn.Module):
    """One cross layer without the residual: ``x_0 * (w . x_i) + b``.

    Wang et al., *Deep & Cross Network for Ad Click Predictions*, ADKDD 2017, eq. 3, without its last term, which EDCN adds itself.

    Args:
        input_dim: number of inputs.

    Shape:
        ``x_0`` and ``x_i`` ``(B, input_dim)`` -> ``(B, input_dim)``.

    Example:
        >>> CrossLayer(4)(torch.ones(2, 4), torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.w = nn.Linear(input_dim, 1, bias=False)
        self.b = nn.Parameter(torch.zeros(input_dim))

    def forward(self, x_0: Tensor, x_i: Tensor) -> Tensor:
        """Cross ``x_i`` with the first input ``x_0``."""
        return torch.addcmul(self.b, x_0, self.w(x_i))  # one kernel instead of two


class _Crosses(nn.Module):
    """``x_{l+1} = x_0 * w_l(x_l) + b_l + x_l`` with a linear map ``w_l``, which a subclass chooses.

    Args:
        input_dim: number of inputs.
        maps: one linear map without a bias for each layer.
    """

    def __init__(self, input_dim: int, maps: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.num_layers = len(maps)
        self.w = nn.ModuleList(maps)
        self.b = nn.ParameterList([nn.Parameter(torch.zeros(input_dim)) for _ in maps])

    def forward(self, x: Tensor) -> Tensor:
        """Apply all cross layers in order."""
        first = x
        for w, b in zip(self.w, self.b, strict=True):
            x = torch.addcmul(x + b, first, w(x))
        return x


@named_arguments
class CrossNetwork(_Crosses):
    """``x_{l+1} = x_0 * (w_l . x_l) + b_l + x_l``: the cross network of DCN (ADKDD 2017, eq. 3), with one weight vector per layer.

    Args:
        input_dim: number of inputs.
        num_layers: number of cross layers.

    Shape:
        ``(B, input_dim)`` -> ``(B, input_dim)``.

    Example:
        >>> CrossNetwork(4, num_layers=2)(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, num_layers: int) -> None:
        super().__init__(input_dim, [nn.Linear(input_dim, 1, bias=False) for _ in range(num_layers)])


@named_arguments
class CrossNetV2(_Crosses):
    """``x_{l+1} = x_0 * (W_l x_l) + b_l + x_l``: one weight matrix per layer.

    Wang et al., *DCN V2*, WWW 2021, eq. 1. Deviation: the paper's ``x_0 * (W_l x_l + b_l) + x_l`` multiplies the bias by ``x_0`` too; the
    existing package does not, and its weights load here.

    Args:
        input_dim: number of inputs.
        num_layers: number of cross layers.

    Shape:
        ``(B, input_dim)`` -> ``(B, input_dim)``.

    Example:
        >>> CrossNetV2(4, num_layers=2)(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, num_layers: int) -> None:
        super().__init__(input_dim, [Linear(input_dim, input_dim, bias=False) for _ in range(num_layers)])


@named_arguments
class CrossNetMix(nn.Module):
    """``x_{l+1} = sum_k g_k(x_l) * x_0 * (U_k tanh(C_k tanh(V_k^T x_l)) + b_l) + x_l``: a gated mixture of low-rank crosses.

    Wang et al., *DCN V2*, WWW 2021, eq. 3-4, with softmax gates that all layers share. The gates sum to 1, so the bias is added once and
    the experts are mixed in the low-rank space, with one product for all V and one for all U. The matrices are initialised by Glorot's rule
    for the stacked experts, as in published implementations. Difference from the existing package: a batch of one row keeps its shape.

    Args:
        input_dim: number of inputs, d.
        num_layers: number of cross layers.
        low_rank: rank r of each expert.
        num_experts: number of experts, K.

    Shape:
        ``(B, input_dim)`` -> ``(B, input_dim)``.

    Example:
        >>> CrossNetMix(4, num_layers=2, low_rank=3, num_experts=2)(torch.ones(1, 4)).shape
        torch.Size([1, 4])
    """

    def __init__(self, input_dim: int, num_layers: int = 2, low_rank: int = 32, num_experts: int = 4) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.num_experts = num_experts
        self.u_list = _glorot(num_layers, num_experts, input_dim, low_rank)
        self.v_list = _glorot(num_layers, num_experts, input_dim, low_rank)
        self.c_list = _glorot(num_layers, num_experts, low_rank, low_rank)
        self.gating = nn.ModuleList([nn.Linear(input_dim, 1, bias=False) for _ in range(num_experts)])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(input_dim, 1)) for _ in range(num_layers)])

    def forward(self, x: Tensor) -> Tensor:
        """Apply all cross layers in order."""
        first = x
        fused = are_plain(self.gating, nn.Linear)
        gate_weight = torch.cat([gate.get_parameter("weight") for gate in self.gating]) if fused else None  # (K, d)
        for u, v, c, bias in zip(self.u_list, self.v_list, self.c_list, self.bias, strict=True):
            scores = torch.cat([gate(x) for gate in self.gating], dim=1) if gate_weight is None else x @ gate_weight.t()
            gates = scores.softmax(dim=1)  # (B, K)
            low = torch.tanh(torch.einsum("bd,kdr->bkr", x, v))
            low = torch.tanh(torch.einsum("bkr,ksr->bks", low, c)) * gates.unsqueeze(2)  # (B, K, r)
            x = torch.addcmul(x, first, torch.einsum("bkr,kdr->bd", low, u) + bias.squeeze(1))
        return x


def _glorot(num_layers: int, *shape: int) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(nn.init.xavier_normal_(torch.empty(shape))) for _ in range(num_layers)])
