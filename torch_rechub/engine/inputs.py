"""What is checked before the first step."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature
from torch_rechub.data.loader import TableLoader
from torch_rechub.data.validation import check_table

__all__ = ["check_arguments", "check_loaders", "check_parts", "length_of"]


def check_arguments(model: Any, n_epoch: Any, accumulate: Any, clip_norm: Any, gpus: Any) -> None:
    """What a trainer is made of.

    Raises:
        TypeError, ValueError: naming the argument, what came and what to do.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}.")
    for name, number in (("n_epoch", n_epoch), ("accumulate", accumulate)):
        try:
            good = operator.index(number) >= 1
        except TypeError:
            good = False
        if not good or isinstance(number, bool):
            raise ValueError(f"{name} must be an integer >= 1; got {number!r}.")
    if clip_norm is not None and not (isinstance(clip_norm, int | float) and clip_norm > 0):
        raise ValueError(f"clip_norm must be a number > 0, or None for no clipping; got {clip_norm!r}.")
    if gpus is not None and len(gpus) > 1:
        raise ValueError(
            f"gpus={gpus!r}: more than one GPU is one process each: start the script by torchrun --nproc-per-node={len(gpus)}."
        )


def check_parts(optimizer_fn: Any, scheduler_fn: Any, scheduler_params: Any, callbacks: Any) -> None:
    """What is made or called later, refused while the line that gave it is at hand.

    Raises:
        TypeError, ValueError: naming the argument, what came and what to do.
    """
    if not callable(optimizer_fn) or isinstance(optimizer_fn, torch.optim.Optimizer):
        raise TypeError(f"optimizer_fn must be a class or function of the parameters, such as torch.optim.Adam; got {optimizer_fn!r}.")
    if scheduler_fn is None and scheduler_params:
        raise ValueError(f"scheduler_params={scheduler_params!r} needs a scheduler_fn, such as torch.optim.lr_scheduler.StepLR.")
    if not isinstance(callbacks, list | tuple):
        raise TypeError(f"callbacks must be a list of callbacks; got {type(callbacks).__name__}. Put it in brackets: callbacks=[...].")


def check_loaders(model: nn.Module, train: Any, val: Any, binary_labels: bool) -> None:
    """Our own loaders' tables whole; any other loader's batches are checked one by one, before each changes a weight.

    Raises:
        ValueError: naming the loader and what is wrong with its rows.
        TypeError: when a loader cannot be iterated.
    """
    for name, loader in (("training", train), ("validation", val)):
        if loader is None and name == "validation":
            continue
        pair = (
            isinstance(loader, list | tuple) and len(loader) == 2 and isinstance(loader[0], Mapping) and not isinstance(loader[1], Mapping)
        )
        if pair or not hasattr(loader, "__iter__") or isinstance(loader, Mapping | Tensor | np.ndarray):
            remedy = "DataGenerator(x, y).generate_dataloader(...) makes loaders of columns."
            raise TypeError(f"The {name} data must be a loader that yields (x, y); got {type(loader).__name__}. {remedy}")
        try:
            if length_of(loader) == 0:
                raise ValueError("the loader has no batches. Give it rows, or a larger share of the split.")
            if isinstance(loader, TableLoader):
                if loader.table.y is None:
                    raise ValueError("the loader has no labels. Give DataGenerator a y.")
                check_table(loader.table, features_of(model), binary_labels)
        except ValueError as error:
            raise ValueError(f"In the {name} data: {error}") from None


def features_of(model: nn.Module) -> tuple[Feature, ...]:
    """What the model says it reads; nothing where ``model.features`` is something else, as a user's own module may have it."""
    given: Any = getattr(model, "features", ())
    listed = isinstance(given, list | tuple) and all(isinstance(feature, DenseFeature | EmbeddedFeature) for feature in given)
    return tuple(given) if listed else ()


def length_of(loader: Any) -> int | None:
    """Number of batches, or None where the loader does not know."""
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # a DataLoader over an iterable data set has __len__, which says that it has none
        return None
