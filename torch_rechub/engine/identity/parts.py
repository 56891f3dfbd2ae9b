"""What the outcome of a run depends on: each setting under a name such as "lr of the optimizer", with a plain value."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_rechub.basic.callback import Callback
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.data.protocol import Loader
from torch_rechub.engine.extra_state import plain_model, plain_modules, plain_names
from torch_rechub.engine.identity.code import changed_attributes, code_of_class, is_of_library
from torch_rechub.engine.identity.values import is_plain, plain_value, without_addresses

__all__ = ["data_identity", "group_names", "identity_of", "labels_of"]

Pairs = Iterator[tuple[str, Any]]


def identity_of(trainer: Any, train: Loader, val: Loader | None) -> dict[str, Any]:
    """The settings of a run as plain values by name, and its data by a digest of the content; before its first hook is called.

    Args:
        trainer: whose run it is.
        train: the training data.
        val: the validation data, or None.
    """
    parts = (
        _of_model(plain_model(trainer.model)),
        _of_objective(trainer),
        _of_optimizer(trainer),
        _of_measuring(trainer),
        _of_callbacks(trainer),
        _of_trainer(trainer, train),
    )
    return {name: plain_value(value) for part in parts for name, value in part} | data_identity(train, val)


def data_identity(train: Loader, val: Loader | None, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The part of the identity that is the data.

    Args:
        train: the training data.
        val: the validation data, or None.
        saved: the identity of the run to resume; a seed that was drawn, not chosen, is taken from it.
    """
    none = iter([("validation data", "none")])
    parts = _of_data("training data", train, saved or {}), none if val is None else _of_data("validation data", val, saved or {})
    return {name: plain_value(value) for part in parts for name, value in part}


def labels_of(callbacks: Any) -> dict[str, Callback]:
    """The callbacks that a run's outcome depends on, by class name; a second one of a class is called "EMA 2"."""
    labels: dict[str, Callback] = {}
    for callback in callbacks:
        if callback.part_of_run:
            name, number = type(callback).__name__, 2
            label = name
            while label in labels:
                label, number = f"{name} {number}", number + 1
            labels[label] = callback
    return labels


def _of_model(model: nn.Module) -> Pairs:
    """Modules with what their ``repr`` shows and their plain attributes, shapes, types and training of all tensors, and the code."""
    yield "model", type(model).__name__
    modules = plain_modules(model)
    for name, module in modules.items():
        where = name or type(model).__name__
        if name:
            shown = "" if is_of_library(type(module)) else module.extra_repr()  # those of torch show only what is an attribute as well
            yield f"layer {name}", without_addresses(f"{type(module).__name__}({shown})")
        yield from ((f"{attribute} of {where}", value) for attribute, value in _attributes(module))
    for name, parameter in plain_names(model.named_parameters()).items():
        yield f"training of {name}", "trained" if parameter.requires_grad else "frozen"
    for name, tensor in plain_names((*model.named_parameters(), *model.named_buffers())).items():
        yield f"shape of {name}", [*tensor.shape]
        yield f"dtype of {name}", tensor.dtype
    for kind in {type(module): None for module in modules.values()}:
        yield from _code("", kind)


def _attributes(module: nn.Module) -> Pairs:
    """Plain public attributes of a module, its features, functions assigned to it, and its hooks."""
    state = {"training", *changed_attributes(type(module))}
    for name, value in vars(module).items():
        is_setting = not name.startswith("_") and name not in state and (is_plain(value) or callable(value))
        if is_setting or (name == "features" and isinstance(value, list | tuple)):
            yield name, value
    for kind in ("forward", "forward_pre", "backward", "backward_pre"):
        hooks = getattr(module, f"_{kind}_hooks", {})
        if hooks:
            yield f"{kind} hooks", [*hooks.values()]


def _code(prefix: str, kind: type) -> Pairs:
    """The code of each function that a class defines outside of libraries."""
    yield from ((f"{prefix}{name} of {kind.__name__}", function) for name, function in code_of_class(kind).items())


def _of_objective(trainer: Any) -> Pairs:
    objective = trainer.objective
    yield "objective", type(objective).__name__
    yield from ((f"{name} of the objective", value) for name, value in objective.settings().items())
    yield from ((f"shape of {name}", [*parameter.shape]) for name, parameter in objective.own_parameters().items())
    yield from _code("", type(objective))
    yield "criterion", trainer.criterion
    coefficients = ("embedding_l1", "embedding_l2", "dense_l1", "dense_l2", "embedding_rows")
    yield from ((f"{name} of regularization", getattr(trainer.regularization, name, None)) for name in coefficients)
    if type(trainer.regularization) is not RegularizationLoss:
        yield "regularization", trainer.regularization


def _of_data(what: str, loader: Loader, saved: Mapping[str, Any]) -> Pairs:
    ending = f" of the {what}"
    before = {name.removesuffix(ending): value for name, value in saved.items() if name.endswith(ending)}
    yield what, "given"
    yield from ((f"{name}{ending}", value) for name, value in loader.fingerprint(before or None).items())


def _of_optimizer(trainer: Any) -> Pairs:
    """The function that makes the optimizer, and the options of its groups as they really are."""
    yield "optimizer", trainer.optimizer_fn
    groups = trainer.optimizer.param_groups
    names = {id(parameter): name for name, parameter in plain_names(trainer.objective.named_parameters()).items()}
    options: set[str] = set()
    for where, group in zip(group_names(trainer.optimizer), groups, strict=True):
        yield f"parameters of {where}", [names.get(id(parameter), "another") for parameter in group["params"]]
        for name, value in group.items():
            if name not in {"params", "initial_lr", "name"} and (is_plain(value) or isinstance(value, torch.Tensor)):
                yield f"{name} of {where}", value
                options.add(name)
    yield from ((f"{name} of optimizer_params", value) for name, value in trainer.optimizer_params.items() if name not in options)


def group_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """What each group of an optimizer is called in the identity."""
    groups = optimizer.param_groups
    if len(groups) == 1:
        return ["the optimizer"]
    return [f"the optimizer's group {group.get('name', i)}" for i, group in enumerate(groups)]


def _of_measuring(trainer: Any) -> Pairs:
    """The metrics with their settings, and which of them decides."""
    scoring = trainer.scoring
    yield "metrics", [metric.name for metric in scoring.metrics]
    yield from ((f"metric {metric.name}", metric.empty()) for metric in scoring.metrics)
    yield from _code("", type(trainer))
    if scoring.scorer is not None:
        yield "scorer", scoring.scorer
    yield "monitor", trainer.monitor
    yield "direction of the monitor", trainer.scoring.expected_direction()


def _of_callbacks(trainer: Any) -> Pairs:
    """The callbacks that the outcome depends on, with their settings and, for the user's own, their code."""
    labels = labels_of(trainer.callbacks)
    yield "callbacks", [*labels]
    for label, callback in labels.items():
        state = changed_attributes(type(callback))
        yield from ((f"{name} of {label}", value) for name, value in callback.settings(trainer).items() if name not in state)
    for kind in {type(callback): None for callback in labels.values()}:
        yield from _code("", kind)


def _of_trainer(trainer: Any, train: Loader) -> Pairs:
    yield from ((name, getattr(trainer, name)) for name in ("accumulate", "clip_norm", "precision", "n_epoch", "model_path", "device"))
    yield "processes", trainer.ranks.size
    yield "val_every", trainer.validation_times.val_every
    yield "compile", trainer.compile_options
    yield "threads", torch.get_num_threads()
    yield "workers", getattr(getattr(train, "loader", train), "num_workers", 0)
    yield "versions", {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
