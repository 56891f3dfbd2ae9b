"""Squeeze-and-excitation: weights for the fields that depend on the row."""

from __future__ import annotations

from torch import Tensor, nn

from torch_rechub.arguments import named_arguments

__all__ = ["SENETLayer"]


@named_arguments
class SENETLayer(nn.Module):
    """Fields multiplied by weights that a bottleneck computes from the means of the fields: ``v_i * relu(W2 relu(W1 z))_i``.

    Huang et al., *FiBiNET*, RecSys 2019, eq. 2-4.

    Args:
        num_fields: number of fields, F.
        reduction_ratio: the width of the bottleneck is F divided by this number, at least 1.

    Shape:
        ``(B, F, D)`` -> ``(B, F, D)``.

    Raises:
        ValueError: ``reduction_ratio`` is not above 0.

    Example:
        >>> import torch
        >>> SENETLayer(6)(torch.ones(2, 6, 4)).shape
        torch.Size([2, 6, 4])
    """

    def __init__(self, num_fields: int, reduction_ratio: float = 3) -> None:
        super().__init__()
        if not reduction_ratio > 0:
            raise ValueError(f"SENETLayer: reduction_ratio must be > 0; got {reduction_ratio!r}. The paper uses 3.")
        width = max(1, int(num_fields / reduction_ratio))
        self.mlp = nn.Sequential(nn.Linear(num_fields, width, bias=False), nn.ReLU(), nn.Linear(width, num_fields, bias=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """The scaled fields."""
        return x * self.mlp(x.mean(dim=-1)).unsqueeze(-1)
