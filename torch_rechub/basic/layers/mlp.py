"""A multi-layer perceptron, the deep part of many models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.activation import Dice, activation_layer
from torch_rechub.basic.layers.batch_norm import BatchNorm1d
from torch_rechub.basic.layers.dense import Linear
from torch_rechub.basic.layers.dropout import Dropout

__all__ = ["MLP"]

Norm: TypeAlias = Literal["batch", "layer"]
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": BatchNorm1d, "layer": nn.LayerNorm}


@named_arguments
class MLP(nn.Module):
    """Fully connected layers: Linear, normalisation, activation, dropout for each width, then a Linear to one number.

    A training batch may have one row, see :class:`BatchNorm1d`.

    Args:
        input_dim: number of inputs.
        output_layer: whether a Linear to one number follows the hidden layers.
        dims: widths of the hidden layers, in order; None or empty means no hidden layer.
        dropout: probability that an output of a hidden layer is set to zero in training, in [0, 1).
        activation: see :func:`activation_layer`.
        norm: normalisation behind each hidden Linear: "batch", "layer" (Ba, Kiros & Hinton, 2016), or None.

    Shape:
        ``(B, input_dim)`` -> ``(B, 1)``, or ``(B, dims[-1])`` without the output layer. With a ``mask`` ``(B,)`` batch normalisation and
        Dice take their statistics from the rows where it is True.

    Raises:
        ValueError: a width is below 1, ``dropout`` is out of range, or ``activation`` or ``norm`` has an unknown name.

    Example:
        >>> import torch
        >>> MLP(8, dims=[16, 4], dropout=0.1)(torch.zeros(2, 8)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        input_dim: int,
        output_layer: bool = True,
        dims: Sequence[int] | None = None,
        dropout: float = 0,
        activation: str | type[nn.Module] = "relu",
        norm: Norm | None = "batch",
    ) -> None:
        super().__init__()
        choice("norm", norm, [*NORMS, None])
        hidden = _as_widths(dims)
        _check_widths(input_dim, hidden)
        if not isinstance(dropout, Real) or not 0 <= dropout < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"MLP: dropout must be >= 0 and < 1; got {dropout!r}. It is the probability of a zero, for example 0.1.")
        layers: list[nn.Module] = []
        width = input_dim
        for next_width in hidden:
            norms = [] if norm is None else [NORMS[norm](next_width)]
            layers += [Linear(width, next_width), *norms, _activation(activation, next_width), Dropout(dropout)]
            width = next_width
        if output_layer:
            layers.append(nn.Linear(width, 1))
        self.output_dim = 1 if output_layer else width  #: number of outputs
        self.mlp = _Layers(*layers)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The output of the last layer."""
        return self.mlp(x) if mask is None else self.mlp(x, mask)


class _Layers(nn.Sequential):
    """``nn.Sequential`` that hands a mask of rows to the layers that compute statistics of a batch."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self:
            input = layer(input, mask) if mask is not None and isinstance(layer, BatchNorm1d | Dice) else layer(input)
        return input


def _activation(name: str | type[nn.Module], width: int) -> nn.Module:
    layer = activation_layer(name, width)
    if isinstance(layer, nn.ReLU):
        layer.inplace = True  # its input is not used again, not even by the gradient of the layer in front
    return layer


def _as_widths(dims: Any) -> list[int]:
    """The widths as a list; None is none."""
    if dims is None:
        return []
    if isinstance(dims, str) or not isinstance(dims, Iterable):
        raise TypeError(f"MLP: dims must be a list of widths, one for each hidden layer; got {dims!r}. Write dims=[{dims}].")
    return list(dims)


def _check_widths(input_dim: int, dims: list[int]) -> None:
    for name, width in [("input_dim", input_dim), *(("every width in dims", width) for width in dims)]:
        if isinstance(width, bool) or not isinstance(width, Integral) or width < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"MLP: {name} must be a whole number >= 1; got {width!r} (input_dim={input_dim!r}, dims={dims!r}).")
