"""State of a module that is neither a parameter nor a buffer, and names that do not depend on ``torch.compile``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["extra_state", "load_extra_state", "plain_model", "plain_names"]

COMPILED = "_orig_mod."  #: what torch.compile puts into names


def plain_model(model: nn.Module) -> nn.Module:
    """The model itself where ``torch.compile`` wrapped it."""
    return getattr(model, "_orig_mod", model)


def plain_names(named: Iterable[tuple[str, Tensor]]) -> dict[str, Any]:
    """Tensors by name, without what ``torch.compile`` puts into names."""
    return {name.replace(COMPILED, ""): tensor for name, tensor in named}


def extra_state(module: nn.Module) -> dict[str, Any]:
    """``get_extra_state()`` of every submodule that defines it, by name."""
    return {name.replace(COMPILED, ""): part.get_extra_state() for name, part in _stateful(module)}


def load_extra_state(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Restore what :func:`extra_state` gave."""
    for name, part in _stateful(module):
        part.set_extra_state(state[name.replace(COMPILED, "")])


def _stateful(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, part) for name, part in module.named_modules() if type(part).get_extra_state is not nn.Module.get_extra_state]
