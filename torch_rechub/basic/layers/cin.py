"""Compressed interaction network: vector-wise interactions whose degree grows with each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.layers.dense import linear
from torch_rechub.basic.layers.plain import are_plain, must_be_plain

__all__ = ["CIN"]


@named_arguments
class CIN(nn.Module):
    """Compressed interaction network: feature maps ``X^k_h = f(sum_ij W^{k,h}_ij X^0_i * X^{k-1}_j)``, summed over D, then a Linear.

    Lian et al., *xDeepFM*, KDD 2018, eq. 6 and 8. Deviations, as in the existing package: each layer has a bias and by default a ReLU, and
    with ``split_half`` one half of the maps of each layer goes to the output and the other half to the next layer.

    Args:
        input_dim: number of fields, F.
        cin_size: number of feature maps of each layer, at least one layer.
        split_half: as above; all sizes except the last must be even then.
        activation: f, "relu"; None is the identity, which the paper found to be best (section 4.3).

    Shape:
        ``(B, F, D)`` -> ``(B, 1)``.

    Raises:
        ValueError: ``cin_size`` is empty, a size that must be halved is odd, or ``activation`` is neither of the two.

    Example:
        >>> CIN(3, [4, 2])(torch.ones(2, 3, 5)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self, input_dim: int, cin_size: Sequence[int], split_half: bool = True, *, activation: Literal["relu"] | None = "relu"
    ) -> None:
        super().__init__()
        choice("CIN: activation", activation, ["relu", None])
        odd = [size for size in cin_size[:-1] if split_half and size % 2]
        if not cin_size or odd:
            raise ValueError(
                f"CIN: cin_size must have at least one size, and all except the last must be even if split_half; got {list(cin_size)}. "
                "Use even sizes or split_half=False."
            )
        self.num_layers = len(cin_size)
        self.split_half = split_half
        self.activation = activation
        hidden_sizes = [size // 2 if split_half else size for size in cin_size[:-1]]  # inputs of the next layer, as many go to the output
        pairs = [input_dim * size for size in [input_dim, *hidden_sizes]]
        self.conv_layers = nn.ModuleList([nn.Conv1d(n_pair, size, 1) for n_pair, size in zip(pairs, cin_size, strict=True)])
        self.fc = nn.Linear(sum(hidden_sizes) + cin_size[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number per row."""
        fields = x.transpose(1, 2).reshape(-1, x.shape[1])  # (B * D, F): a layer is one product of matrices
        maps, hidden = [], fields
        for k, convolve in enumerate(self.conv_layers):
            products = _outer(fields, hidden)  # (B * D, F * number of hidden maps)
            if are_plain([convolve], nn.Conv1d):
                hidden = linear(products, convolve.get_parameter("weight").squeeze(2), convolve.get_parameter("bias"))
            else:
                hidden = convolve(products.unsqueeze(2)).squeeze(2)
            hidden = hidden if self.activation is None else torch.relu(hidden)
            out = hidden
            if self.split_half and k != self.num_layers - 1:
                out, hidden = hidden.chunk(2, dim=1)
            maps.append(out.reshape(-1, x.shape[2], out.shape[1]).sum(dim=1))  # (B, maps)
        return self.fc(torch.cat(maps, dim=1))


def _outer(x: Tensor, y: Tensor) -> Tensor:
    """The outer product of each row of ``x`` ``(N, F)`` and ``y`` ``(N, H)``: ``(N, F * H)``."""
    if torch.compiler.is_compiling() or must_be_plain():
        return (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1)
    return _Outer.apply(x, y)


class _Outer(torch.autograd.Function):
    """Outer products whose gradients are products of matrices, without two more tensors ``(N, F, H)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        x, y = (saved.to(grad_outputs[0].dtype) for saved in ctx.saved_tensors)  # of lower precision under autocast
        grad = grad_outputs[0].reshape(-1, x.shape[1], y.shape[1])  # (N, F, H)
        return torch.bmm(grad, y.unsqueeze(2)).squeeze(2), torch.bmm(x.unsqueeze(1), grad).squeeze(1)
