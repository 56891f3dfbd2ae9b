"""Which parameters are frozen at a moment of a run: a callback may freeze and unfreeze them, so a save holds their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from torch import Tensor, nn

from torch_rechub.basic.layers.feature_embedding import FeatureEmbedding
from torch_rechub.engine.extra_state import plain_modules

__all__ = ["freeze_only", "frozen_names"]


def frozen_names(objective: nn.Module) -> list[str]:
    """The names of the weights that are not trained now, sorted; the embedding of a feature has one also where a fused table holds it."""
    return sorted(name for name, weight, _ in _weights(objective) if not weight.requires_grad)


def freeze_only(objective: nn.Module, frozen: Collection[str]) -> None:
    """Freeze the weights with these names, and unfreeze all others."""
    names = set(frozen)
    for name, weight, switch in list(_weights(objective)):
        if weight.requires_grad == (name in names):
            switch(name not in names)


def _weights(objective: nn.Module) -> Iterator[tuple[str, Tensor, Callable[[bool], Any]]]:
    """Name, weight and what freezes it: the embedding of a feature does more than to set the flag, because its rows lie in a table."""
    for place, module in plain_modules(objective).items():
        for name, weight in module.named_parameters(recurse=False):
            switch = module.requires_grad_ if isinstance(module, FeatureEmbedding) else weight.requires_grad_
            yield f"{place}.{name}" if place else name, weight, switch
