"""The linear part of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments

__all__ = ["LR"]


@named_arguments
class LR(nn.Module):
    """Logistic regression: ``w x + b``, with an optional sigmoid.

    Args:
        input_dim: number of inputs.
        sigmoid: return probabilities instead of logits.

    Shape:
        ``(B, input_dim)`` -> ``(B, 1)``.

    Example:
        >>> LR(3)(torch.zeros(2, 3)).shape
        torch.Size([2, 1])
    """

    def __init__(self, input_dim: int, sigmoid: bool = False) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        self.fc = nn.Linear(input_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number per row."""
        return torch.sigmoid(self.fc(x)) if self.sigmoid else self.fc(x)
