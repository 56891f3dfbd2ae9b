"""Factorized interaction layers: a linear layer with a product of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.activation import activation_layer
from torch_rechub.basic.layers.dense import Linear
from torch_rechub.basic.layers.dropout import Dropout
from torch_rechub.basic.layers.mlp import NORMS, Norm

__all__ = ["FactorizedBlock", "FactorizedInteraction"]

Residual: TypeAlias = Literal["concat", "sum"]


@named_arguments
class FactorizedInteraction(nn.Module):
    """``a + a * c`` or ``[a, a * c]`` with ``[a, c] = W x + b``: the factorized interaction layer, FINAL.

    Zhu, Jia, Cai, Dai, Li, Dong, Tang and Zhang, *FINAL: Factorized Interaction Layer for CTR Prediction*, SIGIR 2023, eq. 3-4.

    Args:
        input_dim: number of inputs.
        output_dim: number of outputs; even for "concat".
        residual: "concat" puts the linear outputs and the products side by side, each half as wide as the output; "sum" adds them.

    Shape:
        ``(B, input_dim)`` -> ``(B, output_dim)``.

    Raises:
        ValueError: ``output_dim`` is odd with "concat", or ``residual`` is none of the two.

    Example:
        >>> FactorizedInteraction(6, 4)(torch.ones(2, 6)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, output_dim: int, residual: Residual = "concat") -> None:
        super().__init__()
        choice("FactorizedInteraction: residual", residual, get_args(Residual))
        if residual == "concat" and output_dim % 2:
            raise ValueError(f"FactorizedInteraction: with residual='concat' every width must be even; got {output_dim}.")
        self.residual = residual
        self.linear = Linear(input_dim, output_dim if residual == "concat" else 2 * output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """The linear outputs and their products."""
        first, second = self.linear(x).chunk(2, dim=1)
        products = first * second
        return torch.cat([first, products], dim=1) if self.residual == "concat" else first + products


@named_arguments
class FactorizedBlock(nn.Module):
    """Factorized interactions one after the other: FINAL, normalisation, activation and dropout for each width.

    Zhu et al., *FINAL*, SIGIR 2023, section 3.2: the degree of the interactions doubles with each layer.

    Args:
        input_dim: number of inputs.
        dims: widths, in order; at least one.
        dropout: probability that an output is set to zero in training, in [0, 1).
        activation: see :func:`activation_layer`; None for none, because the products are not linear.
        norm: "batch", "layer", or None.
        residual: see :class:`FactorizedInteraction`.

    Shape:
        ``(B, input_dim)`` -> ``(B, dims[-1])``.

    Raises:
        ValueError: ``dims`` is empty, or as :class:`FactorizedInteraction`.

    Example:
        >>> FactorizedBlock(6, dims=[8, 4])(torch.ones(2, 6)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        input_dim: int,
        dims: Sequence[int] = (64, 64, 64),
        dropout: float = 0.0,
        activation: str | type[nn.Module] | None = None,
        norm: Norm | None = "batch",
        residual: Residual = "concat",
    ) -> None:
        super().__init__()
        choice("FactorizedBlock: norm", norm, [*NORMS, None])
        if not len(dims) or not 0 <= dropout < 1:
            raise ValueError(f"FactorizedBlock: dims must have a width, and dropout be in [0, 1); got dims={dims!r}, dropout={dropout!r}.")
        layers: list[nn.Module] = []
        width = input_dim
        for next_width in dims:
            layers.append(FactorizedInteraction(width, next_width, residual))
            layers += [] if norm is None else [NORMS[norm](next_width)]
            layers += [] if activation is None else [activation_layer(activation, next_width)]
            layers.append(Dropout(dropout))
            width = next_width
        self.layers = nn.Sequential(*layers)
        self.output_dim = width

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last layer."""
        return self.layers(x)
