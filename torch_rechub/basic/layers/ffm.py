"""Field-aware interactions of pairs of fields, and attention over them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.mlp import MLP

__all__ = ["CEN", "FFM"]


@named_arguments
class FFM(nn.Module):
    """``v_{i, j} * v_{j, i}`` for all pairs ``i < j``, where ``v_{i, j}`` is the embedding of field i for field j.

    Juan et al., *Field-aware Factorization Machines for CTR Prediction*, RecSys 2016, eq. 4.

    Args:
        num_fields: number of fields, F.
        reduce_sum: sum over the embedding dimension, which gives inner products.

    Shape:
        ``(B, F, F, D)`` -> ``(B, F * (F - 1) / 2, 1)``, or ``(B, F * (F - 1) / 2, D)`` if ``reduce_sum`` is False;
        pairs in the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        ValueError: the input has another number of fields.

    Example:
        >>> FFM(num_fields=3)(torch.ones(2, 3, 3, 4)).shape
        torch.Size([2, 3, 1])
    """

    left: Tensor
    right: Tensor

    def __init__(self, num_fields: int, reduce_sum: bool = True) -> None:
        super().__init__()
        self.num_fields = num_fields
        self.reduce_sum = reduce_sum
        left, right = torch.triu_indices(num_fields, num_fields, offset=1)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The interactions of all pairs."""
        if x.dim() != 4 or x.shape[1:3] != (self.num_fields, self.num_fields):
            raise ValueError(f"FFM: the input must be (B, F, F, D) with F=num_fields={self.num_fields}; got {tuple(x.shape)}.")
        crossed = x[:, self.left, self.right] * x[:, self.right, self.left]  # (B, P, D) for P pairs
        return crossed.sum(dim=-1, keepdim=True) if self.reduce_sum else crossed


@named_arguments
class CEN(nn.Module):
    """Compose-excitation network: attention weights for the crosses, computed from the crosses.

    Zhang et al., *FAT-DeepFFM: Field Attentive Deep Field-aware Factorization Machine*, 2019, eq. 7-10. Deviation, as in the existing
    package: the two layers of eq. 9 are an :class:`MLP`, so each is batch-normalised. Difference from the existing package: the width of
    the bottleneck is at least 1 (there it is 0 with fewer crosses than ``reduction_ratio``, and the attention ignores the input).

    Args:
        embed_dim: width of an embedding, D.
        num_field_crosses: number of pairs, P.
        reduction_ratio: the width of the bottleneck is P divided by this number, at least 1.

    Shape:
        ``(B, P, D)`` -> ``(B, P * D)``.

    Raises:
        ValueError: ``reduction_ratio`` is below 1.

    Example:
        >>> CEN(embed_dim=4, num_field_crosses=3, reduction_ratio=2)(torch.ones(2, 3, 4)).shape
        torch.Size([2, 12])
    """

    def __init__(self, embed_dim: int, num_field_crosses: int, reduction_ratio: int) -> None:
        super().__init__()
        if not reduction_ratio >= 1:
            raise ValueError(f"CEN: reduction_ratio must be >= 1; got {reduction_ratio!r}. Use 1 for no bottleneck.")
        self.u = nn.Parameter(torch.rand(num_field_crosses, embed_dim))
        width = max(1, int(num_field_crosses // reduction_ratio))
        self.mlp_att = MLP(num_field_crosses, dims=[width, num_field_crosses], output_layer=False, activation="relu")

    def forward(self, em: Tensor) -> Tensor:
        """The crosses, each multiplied by its attention weight."""
        descriptors = torch.relu((self.u * em).sum(dim=-1))  # (B, P), eq. 7
        weights = self.mlp_att(descriptors)  # (B, P), eq. 9
        return (weights.unsqueeze(-1) * em).flatten(start_dim=1)  # eq. 10
