"""Embeddings begun anew at each epoch, so that several epochs help where one would be best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.layers import EmbeddingTable

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["ReinitEmbeddings"]


class ReinitEmbeddings(Callback):
    """Fills all trainable embeddings anew at the start of every epoch but the first; all other weights go on.

    MEDA: Liu, Fan, Liang, Kong & Li, *Multi-Epoch Learning for Deep Click-Through Rate Prediction Models*, arXiv 2305.19531: the embedding
    layer is re-initialised in each epoch, so that it never meets a row twice, and the network above learns from as many embedding spaces.
    What the optimizer remembers of the embeddings belongs to weights that are gone, so it is forgotten as well, its count of steps
    included, and each epoch begins as the first did. That is our choice: the paper's abstract does not speak of it.

    Each feature's own initializer draws the new numbers, from torch's random state; a pretrained table that learns goes back to what it
    was pretrained to, and one that is frozen stays. Checks early in an epoch see embeddings that are hardly trained: let patience
    span more than an epoch, or check at the end of epochs alone.

    Args:
        reset_optimizer: whether the optimizer forgets its moments and step count of the embeddings; False keeps them.

    Raises:
        ValueError: before training, when the model has no embeddings that learn.

    Example:
        >>> ReinitEmbeddings()
        ReinitEmbeddings(reset_optimizer=True)
    """

    def __init__(self, reset_optimizer: bool = True) -> None:
        self.reset_optimizer = reset_optimizer

    def on_fit_begin(self, trainer: Trainer) -> None:
        if not _embeddings(trainer.model):
            raise ValueError("ReinitEmbeddings: the model has no embeddings that learn. Leave the callback out.")

    def on_epoch_begin(self, trainer: Trainer) -> None:
        if trainer.state.epoch == 0:
            return
        trainer.own_tables(False)  # rows up to date and free; the next step's optimizer takes them again
        for module in _embeddings(trainer.model):
            module.restart() if isinstance(module, EmbeddingTable) else module.reset_parameters()
            if self.reset_optimizer:
                _forget(trainer.optimizer, module.weight)

    def __repr__(self) -> str:
        return f"ReinitEmbeddings(reset_optimizer={self.reset_optimizer})"


def _embeddings(model: nn.Module) -> list[EmbeddingTable | nn.Embedding]:
    """The tables and embeddings of a model that learn."""
    found = [module for module in model.modules() if isinstance(module, EmbeddingTable | nn.Embedding)]
    return [module for module in found if module.weight.requires_grad]


def _forget(optimizer: torch.optim.Optimizer, weight: Tensor) -> None:
    """Bring an optimizer's state of one parameter to what it is before the first step."""
    kept: Any = optimizer.state.pop(weight, None)
    group = next((group for group in optimizer.param_groups if any(own is weight for own in group["params"])), None)
    if kept is None or group is None:
        return
    start = getattr(optimizer, "start_state", None)
    if start is not None:  # one of ours
        start(weight, group)
    elif isinstance(optimizer, torch.optim.Adagrad):  # torch's others make their state at their first step
        optimizer.state[weight] = {"step": torch.tensor(0.0), "sum": torch.full_like(weight, group["initial_accumulator_value"])}
