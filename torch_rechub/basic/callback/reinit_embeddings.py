"""Embeddings that are initialized again at each epoch, so that several epochs help where one would be best."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.basic.layers import EmbeddingTable
from torch_rechub.basic.layers.feature_embedding import is_part_of_table

__all__ = ["ReinitEmbeddings"]


@named_arguments
class ReinitEmbeddings(Callback):
    """Initializes all trainable embeddings again at the start of every epoch but the first; all other weights continue.

    MEDA: Liu, Fan, Liang, Kong & Li, *Multi-Epoch Learning for Deep Click-Through Rate Prediction Models*, arXiv 2305.19531: the embedding
    layer is re-initialised in each epoch, so that no row is seen twice with the same embeddings, and the dense network trains on several
    embedding spaces. The optimizer's state of the embeddings is reset as well, its step count included. This is our choice: the paper's
    abstract does not mention it.

    Each feature's own initializer draws the new numbers from torch's random state. A trainable pretrained table returns to its pretrained
    values; a frozen one stays. Validations early in an epoch measure embeddings that are hardly trained: let patience span more than an
    epoch, or validate at the end of epochs only.

    Args:
        reset_optimizer: whether the optimizer's moments and step count of the embeddings are reset; False keeps them.

    Raises:
        ValueError: before training, when the model has no trainable embeddings.

    Example:
        >>> ReinitEmbeddings()
        ReinitEmbeddings(reset_optimizer=True)
    """

    def __init__(self, reset_optimizer: bool = True) -> None:
        self.reset_optimizer = reset_optimizer

    def check_settings(self, trainer: Training, validates: bool) -> None:
        if not _embeddings(trainer.model):
            raise ValueError("ReinitEmbeddings: the model has no trainable embeddings. Leave the callback out.")

    def on_epoch_begin(self, trainer: Training) -> None:
        if trainer.state.epoch == 0:
            return
        trainer.detach_tables()  # rows up to date; the next step attaches the tables again
        for module in _embeddings(trainer.model):
            module.restart() if isinstance(module, EmbeddingTable) else module.reset_parameters()
            if self.reset_optimizer:
                _reset_state(trainer.optimizer, module.weight)

    def __repr__(self) -> str:
        return f"ReinitEmbeddings(reset_optimizer={self.reset_optimizer})"


def _embeddings(model: nn.Module) -> list[EmbeddingTable | nn.Embedding]:
    """The trainable tables and embeddings of a model."""
    embeddings = [module for module in model.modules() if isinstance(module, EmbeddingTable | nn.Embedding)]
    return [module for module in embeddings if not is_part_of_table(module) and module.weight.requires_grad]


def _reset_state(optimizer: torch.optim.Optimizer, weight: Tensor) -> None:
    """Reset an optimizer's state of one parameter to what it is before the first step."""
    state: Any = optimizer.state.pop(weight, None)
    group = next((group for group in optimizer.param_groups if any(parameter is weight for parameter in group["params"])), None)
    if state is None or group is None:
        return
    start = getattr(optimizer, "start_state", None)
    if start is not None:  # one of torch_rechub.optim
        start(weight, group)
    elif isinstance(optimizer, torch.optim.Adagrad):  # torch's other optimizers create their state at their first step
        optimizer.state[weight] = {"step": torch.tensor(0.0), "sum": torch.full_like(weight, group["initial_accumulator_value"])}
