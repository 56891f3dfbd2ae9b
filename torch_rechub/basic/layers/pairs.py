"""Products of all pairs of fields: each by itself, or their weighted sum."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments, whole_number

__all__ = ["InnerProducts", "PairWeight", "WeightedPairs"]

PairWeight: TypeAlias = Literal["scalar", "vector", "matrix"]


@named_arguments
class InnerProducts(nn.Module):
    """``<v_i, v_j>`` of all pairs ``i < j``.

    One product of matrices for each row, of which the upper triangle is taken; no tensor of ``(B, P, D)``.

    Args:
        num_fields: number of fields, F.

    Shape:
        ``(B, F, D)`` -> ``(B, F * (F - 1) / 2)``, pairs in the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        ValueError: ``num_fields`` is below 2.

    Example:
        >>> InnerProducts(num_fields=3)(torch.tensor([[[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]]]))
        tensor([[2., 0., 3.]])
    """

    pairs: Tensor

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        self.num_fields = whole_number("InnerProducts: num_fields", num_fields, least=2)
        self.register_buffer("pairs", _pairs(num_fields), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The inner products."""
        return (x @ x.transpose(1, 2)).flatten(1).index_select(1, self.pairs)


@named_arguments
class WeightedPairs(nn.Module):
    """``sum_{i<j} <v_i W_ij, v_j>`` with one weight for each pair of fields: a number, a vector, or a matrix.

    A number is the interaction of FwFM (Pan et al., WWW 2018), a vector and a matrix those of FmFM (Sun et al., WWW 2021). The sum is
    ``x W x`` with the weights as blocks above the diagonal of one matrix ``W``: one product of matrices, and no tensor of ``(B, P, D)``. A
    number or a vector needs ``F * F`` products an entry of the embedding, a matrix ``(F * D)^2`` a row.

    Args:
        num_fields: number of fields, F.
        embed_dim: width of an embedding, D.
        weight: "scalar", "vector" (a diagonal matrix) or "matrix".

    Shape:
        ``(B, F, D)`` -> ``(B, 1)``; the parameter ``weight`` is ``(P)``, ``(P, D)`` or ``(P, D, D)`` for the P = F * (F - 1) / 2 pairs in
        the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        ValueError: ``num_fields`` is below 2, ``embed_dim`` below 1, or ``weight`` is none of the three.

    Example:
        >>> pairs = WeightedPairs(num_fields=2, embed_dim=2, weight="vector")
        >>> _ = nn.init.ones_(pairs.weight)
        >>> pairs(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])).item()  # 1 * 3 + 2 * 4
        11.0
    """

    pairs: Tensor

    def __init__(self, num_fields: int, embed_dim: int, weight: PairWeight = "scalar") -> None:
        super().__init__()
        choice("WeightedPairs: weight", weight, ["scalar", "vector", "matrix"])
        self.num_fields = whole_number("WeightedPairs: num_fields", num_fields, least=2)
        self.embed_dim = whole_number("WeightedPairs: embed_dim", embed_dim)
        self.kind = weight
        self.register_buffer("pairs", _pairs(num_fields), persistent=False)
        shape = {"scalar": (), "vector": (embed_dim,), "matrix": (embed_dim, embed_dim)}[weight]
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(len(self.pairs), *shape), std=self._std()))

    def _std(self) -> float:
        """Glorot's rule for a sum over all pairs of numbers, and for a weight of vectors as published implementations have it."""
        n_pair = len(self.pairs)
        if self.kind == "scalar":
            return (2 / (n_pair + 1)) ** 0.5
        fan = n_pair + self.embed_dim if self.kind == "vector" else (n_pair + self.embed_dim) * self.embed_dim
        return (2 / fan) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """One number per row."""
        n_field, width = self.num_fields, self.embed_dim
        blocks = self.weight.new_zeros(n_field * n_field, *self.weight.shape[1:]).index_copy(0, self.pairs, self.weight)
        if self.kind == "scalar":
            columns = x.transpose(1, 2).reshape(-1, n_field)  # (B * D, F)
            products = columns * (columns @ blocks.view(n_field, n_field))
            return products.reshape(-1, width * n_field).sum(1, keepdim=True)
        if self.kind == "vector":
            columns = x.permute(2, 0, 1).contiguous()  # (D, B, F)
            mixed = torch.bmm(columns, blocks.view(n_field, n_field, width).permute(2, 0, 1))
            return (columns * mixed).sum((0, 2)).unsqueeze(1)
        flat = x.flatten(1)  # (B, F * D)
        matrix = blocks.view(n_field, n_field, width, width).transpose(1, 2).reshape(n_field * width, n_field * width)
        return (flat * (flat @ matrix)).sum(1, keepdim=True)


def _pairs(num_fields: int) -> Tensor:
    """Where the pairs ``i < j`` lie in a matrix ``(F, F)`` that is flattened."""
    left, right = torch.triu_indices(num_fields, num_fields, offset=1)
    return left * num_fields + right
