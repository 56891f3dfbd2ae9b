"""The validation of arguments and data before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torch_rechub.arguments import check_keywords, choice, positive_number, whole_number
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.data.protocol import Loader
from torch_rechub.engine.extra_state import plain_model
from torch_rechub.engine.objective import Objective

__all__ = ["compile_options", "refuse_lazy", "refuse_own_epochs", "validate_arguments", "validate_loaders", "validate_parts"]


def validate_arguments(
    model: Any, n_epoch: Any, accumulate: Any, clip_norm: Any, gpus: Any, precision: Any, loss_mode: Any, progress: Any
) -> None:
    """The arguments that are numbers or modules.

    Raises:
        TypeError, ValueError: naming the argument, what came and what to do.
    """
    if not isinstance(model, nn.Module):
        given = (
            f"the class {model.__name__}. Make a model of it: {model.__name__}(...)" if isinstance(model, type) else type(model).__name__
        )
        raise TypeError(f"model must be a torch.nn.Module; got {given}.")
    whole_number("n_epoch", n_epoch)
    whole_number("accumulate", accumulate)
    if clip_norm is not None:
        positive_number("clip_norm", clip_norm, ", or None for no clipping")
    if precision not in {"fp32", "bf16"}:
        raise ValueError(f"precision must be 'fp32' or 'bf16' (autocast to bfloat16); got {precision!r}.")
    choice("loss_mode", loss_mode, [True, False])
    choice("progress", progress, [True, False])
    if gpus is not None and not isinstance(gpus, Sequence):
        raise TypeError(f"gpus must be a list of device numbers, such as [0], or None; got {gpus!r}. device='cuda:0' says the same.")
    if gpus is not None and len(gpus) > 1:
        raise ValueError(f"gpus={gpus!r}: several GPUs need one process each: start the script by torchrun --nproc-per-node={len(gpus)}.")


def compile_options(compile: Any) -> dict[str, Any] | None:
    """The arguments of ``torch.compile``; None where it is not used.

    Raises:
        TypeError: when the argument is neither a bool nor a mapping.
    """
    if isinstance(compile, bool):
        return {} if compile else None
    if not isinstance(compile, Mapping):
        raise TypeError(f"compile must be True, False or a mapping of torch.compile's arguments, such as {{'mode': ...}}; got {compile!r}.")
    return dict(compile)


def refuse_lazy(objective: nn.Module, what: str) -> None:
    """Refuse a model whose shapes are not known yet where ``what`` needs them.

    Raises:
        ValueError: naming a parameter and the remedy.
    """
    lazy = [name for name, tensor in (*objective.named_parameters(), *objective.named_buffers()) if is_lazy(tensor)]
    if lazy:
        raise ValueError(f"{what} needs the shape of {lazy[0]}, a lazy parameter. Call the model once with the features of a batch before.")


def refuse_own_epochs(kind: type, base: type) -> None:
    """Refuse a trainer with a ``train_one_epoch`` of its own, which ``fit`` would not call.

    Raises:
        TypeError: naming the class and the remedy.
    """
    if kind.train_one_epoch is not base.train_one_epoch:  # type: ignore[attr-defined]
        raise TypeError(
            f"{kind.__name__} overrides train_one_epoch, which fit does not call. Override make_objective to change what a step "
            "computes, or write a callback for what happens around it."
        )


def validate_parts(
    optimizer_fn: Any, optimizer_params: Any, scheduler_fn: Any, scheduler_params: Any, regularization_params: Any, callbacks: Any
) -> None:
    """The arguments that are called later.

    Raises:
        TypeError, ValueError: naming the argument, what came and what to do.
    """
    if not callable(optimizer_fn) or isinstance(optimizer_fn, torch.optim.Optimizer):
        given = f"an instance of {type(optimizer_fn).__name__}" if isinstance(optimizer_fn, torch.optim.Optimizer) else repr(optimizer_fn)
        raise TypeError(
            f"optimizer_fn must be a class or function of the parameters, such as torch.optim.Adam; got {given}. The trainer makes the "
            'optimizer itself: optimizer_fn=torch.optim.Adam, optimizer_params={"lr": 1e-3}.'
        )
    given = {"optimizer_params": optimizer_params, "scheduler_params": scheduler_params, "regularization_params": regularization_params}
    for name, params in given.items():
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"{name} must be a dict of arguments by name, such as {{'lr': 1e-3}}; got {params!r}.")
    for name, value in (optimizer_params or {}).items():
        if isinstance(value, str) and name in {"lr", "weight_decay", "eps", "momentum"}:
            raise TypeError(f"optimizer_params: {name} must be a number; got the text {value!r}.")
    check_keywords("regularization_params", RegularizationLoss, regularization_params or {}, first=0)
    check_keywords("optimizer_params", optimizer_fn, optimizer_params or {})
    check_keywords("scheduler_params", scheduler_fn, scheduler_params or {})
    if scheduler_fn is None and scheduler_params:
        raise ValueError(f"scheduler_params={scheduler_params!r} needs a scheduler_fn, such as torch.optim.lr_scheduler.StepLR.")
    if not isinstance(callbacks, list | tuple):
        raise TypeError(f"callbacks must be a list of callbacks; got {type(callbacks).__name__}. Put it in brackets: callbacks=[...].")


def validate_loaders(objective: Objective, train: Loader, val: Loader | None) -> None:
    """Check the data before the first step: our own loaders' tables whole; foreign batches are checked one by one in training.

    Raises:
        ValueError: naming the loader and what is wrong with its rows.
    """
    for name, loader in (("training", train), ("validation", val)):
        if loader is None:
            continue
        try:
            if loader.n_batch == 0:
                raise ValueError("the loader has no batches. Give it rows, or a larger share of the split.")
            objective.check(loader, features_of(objective.model))
        except ValueError as error:
            raise ValueError(f"In the {name} data: {error}") from None


def features_of(model: nn.Module) -> tuple[Feature, ...]:
    """The features that the model reads; none where ``model.features`` is something else, as in a user's own module."""
    given: Any = getattr(plain_model(model), "features", ())
    listed = isinstance(given, list | tuple) and all(isinstance(feature, DenseFeature | EmbeddedFeature) for feature in given)
    return tuple(given) if listed else ()
