"""State of a module that is neither a parameter nor a buffer, and names that do not depend on ``torch.compile``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torch_rechub.storage.tree import split_tree
from torch_rechub.torch_private import empty_buffers, metadata_of, with_metadata

__all__ = [
    "absent_buffers",
    "check_extra_state",
    "create_buffers",
    "extra_state",
    "load_extra_state",
    "load_plain_weights",
    "n_known",
    "plain_model",
    "plain_modules",
    "plain_names",
    "plain_weights",
    "remove_buffers",
]

COMPILED = "_orig_mod."  #: what torch.compile puts into names
T = TypeVar("T")


def plain_model(model: nn.Module) -> nn.Module:
    """The model itself where ``torch.compile`` wrapped it."""
    return getattr(model, "_orig_mod", model)


def plain_names(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Tensors by name, without what ``torch.compile`` puts into names."""
    return {name.replace(COMPILED, ""): value for name, value in named}


def n_known(parameters: Iterable[nn.Parameter]) -> int:
    """The number of weights; lazy parameters, whose shape is not known yet, are not counted."""
    return sum(parameter.numel() for parameter in parameters if not is_lazy(parameter))


def plain_modules(model: nn.Module) -> dict[str, nn.Module]:
    """All modules by plain name; a module that ``torch.compile`` wrapped, at any place, without its wrapper."""
    modules = ((f"{name}." if name else "", module) for name, module in model.named_modules())
    return {name.replace(COMPILED, "").removesuffix("."): module for name, module in modules if not hasattr(module, "_orig_mod")}


def plain_weights(model: nn.Module) -> dict[str, Any]:
    """The ``state_dict`` of a model with plain names, also where a part of it is compiled."""
    weights = plain_model(model).state_dict()
    if not any(COMPILED in name for name in weights):
        return weights
    by_prefix = (metadata_of(weights) or {}).items()
    metadata = {_plain_prefix(prefix): local for prefix, local in by_prefix}  # an inner module follows its wrapper
    return with_metadata(plain_names(weights.items()), metadata)


def load_plain_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load what :func:`plain_weights` gave."""
    model = plain_model(model)
    if any(hasattr(part, "_orig_mod") for part in model.modules()):
        saved, present = metadata_of(weights), model.state_dict()
        names = {name.replace(COMPILED, ""): name for name in present}
        prefixes = [*(metadata_of(present) or ())]
        metadata = None if saved is None else {prefix: dict(saved.get(_plain_prefix(prefix), {})) for prefix in prefixes}
        weights = with_metadata({names.get(name, name): value for name, value in weights.items()}, metadata)
    model.load_state_dict(weights)


def _plain_prefix(prefix: str) -> str:
    """The name of a module without what ``torch.compile`` puts into it."""
    return f"{prefix}.".replace(COMPILED, "").removesuffix(".")


def absent_buffers(module: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """The buffers that are None, until a first batch for instance, by plain name: the module and the attribute of each."""
    modules = plain_modules(module).items()
    return {f"{name}.{buffer}" if name else buffer: (part, buffer) for name, part in modules for buffer in empty_buffers(part)}


def create_buffers(module: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Give a tensor to each buffer that is None and that a save, by plain names, holds."""
    for name, (owner, attribute) in absent_buffers(module).items():
        if name in saved:
            device = next((each.device for each in owner.parameters()), None)
            setattr(owner, attribute, torch.empty_like(saved[name], device=device))


def remove_buffers(absent: Mapping[str, tuple[nn.Module, str]]) -> None:
    """Set buffers back to None: those that :func:`absent_buffers` gave before."""
    for owner, attribute in absent.values():
        setattr(owner, attribute, None)


def extra_state(module: nn.Module) -> dict[str, Any]:
    """``get_extra_state()`` of every submodule that defines it, by name."""
    return {name.replace(COMPILED, ""): part.get_extra_state() for name, part in _stateful(module)}


def load_extra_state(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Restore what :func:`extra_state` gave."""
    for name, part in _stateful(module):
        if name.replace(COMPILED, "") in state:  # not where another module was accepted
            part.set_extra_state(state[name.replace(COMPILED, "")])


def check_extra_state(module: nn.Module) -> None:
    """Refuse state that a save cannot hold, since reading a save never runs code.

    Raises:
        TypeError: naming the module and the value.
    """
    for name, part in _stateful(module):
        try:
            split_tree(part.get_extra_state())
        except TypeError as error:
            where = f"{type(part).__name__} ({name.replace(COMPILED, '')})" if name else type(part).__name__
            raise TypeError(f"get_extra_state() of {where} must return tensors, numbers, strings, lists and dicts only: {error}") from None


def _stateful(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, part in module.named_modules():
        function = getattr(part.get_extra_state, "__func__", part.get_extra_state)
        if function is not nn.Module.get_extra_state and not hasattr(part, "_orig_mod"):
            yield name, part
