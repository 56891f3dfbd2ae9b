"""The output layer: logits to predictions."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments

__all__ = ["PredictionLayer"]

TaskType: TypeAlias = Literal["classification", "regression"]


@named_arguments
class PredictionLayer(nn.Module):
    """The sigmoid for classification, the identity for regression.

    Args:
        task_type: "classification" or "regression".

    Shape:
        any -> the same.

    Raises:
        ValueError: ``task_type`` is none of the two.

    Example:
        >>> PredictionLayer("classification")(torch.zeros(2))
        tensor([0.5000, 0.5000])
    """

    def __init__(self, task_type: TaskType = "classification") -> None:
        super().__init__()
        if task_type not in get_args(TaskType):
            raise ValueError(f"PredictionLayer: task_type must be one of {list(get_args(TaskType))}; got {task_type!r}.")
        self.task_type = task_type

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities, or ``x`` itself."""
        return torch.sigmoid(x) if self.task_type == "classification" else x
