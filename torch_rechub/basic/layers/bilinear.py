"""Bilinear interactions of pairs of fields, with learned matrices."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.plain import are_plain

__all__ = ["BiLinearInteractionLayer"]

BilinearType: TypeAlias = Literal["field_all", "field_each", "field_interaction"]


@named_arguments
class BiLinearInteractionLayer(nn.Module):
    """``(W v_i) * v_j`` for all pairs ``i < j``: Huang et al., *FiBiNET*, RecSys 2019, eq. 5-7.

    Args:
        input_dim: width of an embedding, D.
        num_fields: number of fields, F.
        bilinear_type: "field_all" has one ``W``, "field_each" one for each field ``i``, "field_interaction" one for each pair. With
            "field_each" the last field has a matrix that no pair uses: it is not trained, and is there for the keys of saved weights.

    Shape:
        ``(B, F, D)`` -> ``(B, F * (F - 1) / 2, D)``, pairs in the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        ValueError: ``bilinear_type`` is none of the three, or the input has another number of fields.

    Example:
        >>> BiLinearInteractionLayer(4, num_fields=3)(torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])
    """

    left: Tensor
    right: Tensor

    def __init__(self, input_dim: int, num_fields: int, bilinear_type: BilinearType = "field_interaction") -> None:
        super().__init__()
        if bilinear_type not in get_args(BilinearType):
            raise ValueError(
                f"BiLinearInteractionLayer: bilinear_type must be one of {list(get_args(BilinearType))}; got {bilinear_type!r}."
            )
        self.bilinear_type = bilinear_type
        self.num_fields = num_fields
        left, right = torch.triu_indices(num_fields, num_fields, offset=1)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)
        n_matrix = {"field_all": 1, "field_each": num_fields, "field_interaction": len(left)}[bilinear_type]
        layers = [nn.Linear(input_dim, input_dim, bias=False) for _ in range(n_matrix)]
        if bilinear_type == "field_each":
            layers[-1].requires_grad_(False)
        self.bilinear_layer = layers[0] if bilinear_type == "field_all" else nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """The interactions of all pairs."""
        if x.shape[1] != self.num_fields:
            raise ValueError(f"BiLinearInteractionLayer: the input must have num_fields={self.num_fields} fields; got {tuple(x.shape)}.")
        others = x[:, self.right]  # (B, P, D) for P pairs
        if isinstance(self.bilinear_layer, nn.Linear):
            return self.bilinear_layer(x)[:, self.left] * others
        if self.bilinear_type == "field_each":
            return self._apply_matrices(x)[:, self.left] * others
        return self._apply_matrices(x[:, self.left]) * others

    def _apply_matrices(self, x: Tensor) -> Tensor:
        """Multiply position ``p`` of ``x`` ``(B, P, D)`` by matrix ``p``."""
        assert isinstance(self.bilinear_layer, nn.ModuleList)
        if not len(self.bilinear_layer):
            return x  # a single field has no pairs
        if not are_plain(self.bilinear_layer, nn.Linear):
            return torch.stack([layer(part) for layer, part in zip(self.bilinear_layer, x.unbind(1), strict=True)], dim=1)
        weight = torch.stack([layer.get_parameter("weight") for layer in self.bilinear_layer])  # (P, D, D)
        return torch.einsum("bpd,ped->bpe", x, weight)
