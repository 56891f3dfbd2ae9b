"""What the state of an optimizer in a save must be: compared with the live optimizer before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_rechub.optim import RowOptimizer
from torch_rechub.storage import NATURAL, Rule, UnexpectedContentError, check_like, check_shape

__all__ = ["check_optimizer_state"]


def _is_by_number(value: Any) -> bool:
    return isinstance(value, Mapping) and all(NATURAL.holds(key) and isinstance(entry, Mapping) for key, entry in value.items())


#: What torch's optimizers and ours save.
OPTIMIZER = {"state": Rule("a dict of dicts by number", _is_by_number), "param_groups": [dict]}
#: Optimizers of torch each of whose tensors belongs to one parameter: it has its shape or is one number.
BY_PARAMETER = ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam")


def check_optimizer_state(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Refuse a state that the optimizer could not continue from; that of a class with a ``state_dict`` of its own is its own matter.

    Args:
        optimizer: the live one, which may have made no step.
        saved: what its ``state_dict`` gave in the saved run.

    Raises:
        UnexpectedContentError: naming the entry.
    """
    ours = isinstance(optimizer, RowOptimizer)
    if not (ours or type(optimizer).state_dict is torch.optim.Optimizer.state_dict):
        return
    check_shape(saved, OPTIMIZER, "optimizer")
    groups = torch.optim.Optimizer.state_dict(optimizer)["param_groups"]
    if len(saved["param_groups"]) != len(groups):
        raise UnexpectedContentError(f"'optimizer.param_groups' must hold {len(groups)} groups; it holds {len(saved['param_groups'])}")
    for i, (group, template) in enumerate(zip(saved["param_groups"], groups, strict=True)):
        check_like(group, template, f"optimizer.param_groups[{i}]", lengths=True)
        if list(group["params"]) != list(template["params"]):
            raise UnexpectedContentError(
                f"'optimizer.param_groups[{i}].params' must be the numbers of its {len(template['params'])} weights"
            )
    known = ours or (type(optimizer).__module__.startswith("torch.optim") and type(optimizer).__name__ in BY_PARAMETER)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, entries in saved["state"].items():
        if number >= len(parameters):
            raise UnexpectedContentError(f"'optimizer.state' is of {len(parameters)} weights; it has an entry {number}")
        _check_entries(entries, parameters[number], f"optimizer.state[{number}]", known)
    if known:
        _check_names(saved)


def _check_entries(entries: Mapping[str, Any], parameter: Tensor, name: str, known: bool) -> None:
    """The state of one parameter: numbers and tensors; where the optimizer is known, of the parameter's shape or one for each row."""
    for key, value in entries.items():
        where = f"{name}.{key}"
        if key == "lag":
            check_shape(value, dict, where)
        elif isinstance(value, Tensor):
            shapes = (parameter.shape, parameter.shape[:1], (*parameter.shape[:1], 1))
            if known and value.numel() != 1 and tuple(value.shape) not in shapes:
                must = f"{tuple(parameter.shape)}, as its weights are, or one number"
                raise UnexpectedContentError(f"{where!r} must be {must}; it is {tuple(value.shape)}")
        elif known or isinstance(value, str):
            check_like(value, None if value is None else 0, where)


def _check_names(saved: Mapping[str, Any]) -> None:
    """All weights of a group that have a state have the same entries, of the same kinds."""
    for group in saved["param_groups"]:
        present = [number for number in group["params"] if number in saved["state"]]
        names = {number: set(saved["state"][number]) - {"lag"} for number in present}
        every = set[str]().union(*names.values())
        for number, own in names.items():
            if own != every:
                raise UnexpectedContentError(f"'optimizer.state[{number}]': {min(every - own)!r} is missing")
