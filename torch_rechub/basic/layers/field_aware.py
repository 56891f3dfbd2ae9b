"""Products of pairs of fields whose embeddings differ from partner to partner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.layers.plain import must_be_plain

__all__ = ["FieldAwareProducts"]


@named_arguments
class FieldAwareProducts(nn.Module):
    """``<v_{i,j}, v_{j,i}>`` of all pairs ``i < j``, where ``v_{i,j}`` is the embedding of field i for field j.

    Juan et al., *Field-aware Factorization Machines for CTR Prediction*, RecSys 2016, eq. 4. Each field has F - 1 embeddings, side by side:
    one lookup reads them all, and there is none for the field itself, which no product would use. :class:`FFM` has F of them, as the
    existing package. The gradient is rearranged by the inverse permutation, where torch would add it pair by pair.

    Args:
        num_fields: number of fields, F.

    Shape:
        ``(B, F, (F - 1) * D)``, the embeddings of field i for the fields 0 .. F - 1 without i -> ``(B, F * (F - 1) / 2)``, pairs in the
        order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        ValueError: ``num_fields`` is below 2.

    Example:
        >>> FieldAwareProducts(2)(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))  # 1 * 3 + 2 * 4
        tensor([[11.]])
    """

    order: Tensor
    inverse: Tensor

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        self.num_fields = whole_number("FieldAwareProducts: num_fields", num_fields, least=2)
        left, right = torch.triu_indices(num_fields, num_fields, offset=1)
        order = torch.cat([left * (num_fields - 1) + right - 1, right * (num_fields - 1) + left])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", order.argsort(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The products."""
        n_slot = self.num_fields * (self.num_fields - 1)
        vectors = x.reshape(-1, n_slot, x.shape[-1] // (self.num_fields - 1))  # (B, F * (F - 1), D)
        if torch.compiler.is_compiling() or must_be_plain():
            arranged = vectors.index_select(1, self.order)
        else:
            arranged = _Arranged.apply(vectors, self.order, self.inverse)
        left, right = arranged.chunk(2, dim=1)  # (B, P, D) each
        return (left * right).sum(dim=2)


class _Arranged(torch.autograd.Function):
    """The entries of axis 1 in another order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Arranged.apply(grad_outputs[0], inverse, order), None, None
