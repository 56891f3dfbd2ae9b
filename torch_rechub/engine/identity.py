"""The identity of a run: what its outcome depends on, compared before a saved run is resumed."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_rechub.basic.callback import LearningRate
from torch_rechub.data.protocol import Loader
from torch_rechub.engine.extra_state import plain_model, plain_names
from torch_rechub.storage import tensor_digest

__all__ = ["compare_identities", "describe_value", "identity_of"]

logger = logging.getLogger(__name__)
#: What may differ; it is logged, since the bits may then differ as well.
FREE = {"n_epoch", "compile", "patience", "model_path", "device", "threads", "workers", "versions"}


def compare_identities(saved: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Refuse to resume another run; log what differs and may differ.

    Raises:
        ValueError: naming each difference.
    """
    differences: list[str] = []
    for name, now in present.items():
        before = saved.get(name)
        if before == now:
            continue
        if name in FREE:
            logger.info("resuming with another %s: %s, it was %s", name, now, before)
        else:
            differences.append(_difference(name, before, now))
    if differences:
        raise ValueError(
            f"The saved run is another one: {'; '.join(differences)}. Make them equal to resume, or leave out resume= to start anew."
        )


def identity_of(trainer: Any, train: Loader, val: Loader | None, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a run as plain values, and its data by a digest of the content.

    Args:
        trainer: whose run it is.
        train: the training data.
        val: the validation data, or None.
        saved: the identity of the run to resume; a seed that was drawn, not chosen, is taken from it.
    """
    options = {name: value for name, value in trainer.optimizer_params.items() if isinstance(value, int | float | str | tuple | list)}
    schedule, objective, before = trainer.callback(LearningRate), trainer.objective, saved or {}
    return {
        "model": _describe_model(trainer.model),
        "objective": {"class": type(objective).__name__, **objective.settings()},
        "learned besides the model": {name: [*parameter.shape] for name, parameter in objective.own_parameters().items()},
        "training data": train.fingerprint(before.get("training data")),
        "validation data": None if val is None else val.fingerprint(before.get("validation data")),
        "optimizer": {"class": describe_value(trainer.optimizer_fn), **options},
        "schedule": None if schedule is None else _schedule(schedule, trainer.total_steps),
        "criterion": _describe_criterion(trainer.criterion),
        "regularization": [getattr(trainer.regularization, name) for name in ("embedding_l1", "embedding_l2", "dense_l1", "dense_l2")],
        "accumulate": trainer.accumulate,
        "processes": trainer.ranks.size,
        "clip_norm": trainer.clip_norm,
        "precision": trainer.precision,
        "compile": describe_value(trainer.compile_options),
        "val_every": trainer.validation_times.val_every,
        "metrics": [metric.name for metric in trainer.scoring.metrics],
        "monitor": trainer.monitor,
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks if callback.part_of_run],
        "n_epoch": trainer.n_epoch,
        "patience": trainer.early_stopper.patience,
        "model_path": str(trainer.model_path),
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
        "workers": getattr(getattr(train, "loader", train), "num_workers", 0),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }


def _schedule(schedule: LearningRate, total_steps: int | None) -> dict[str, Any]:
    """A schedule's settings; one that was made for a number of steps is another one for another number."""
    length = total_steps if schedule.needs_length() else None
    return {"scheduler": describe_value(schedule), "interval": schedule.given_interval, "total steps": length}


def _describe_model(model: nn.Module) -> dict[str, Any]:
    """The modules with what their ``repr`` shows (a dropout rate, an activation), and the shapes of all tensors."""
    model = plain_model(model)
    modules = {name or "class": _shown(module) for name, module in model.named_modules()}
    tensors = plain_names((*model.named_parameters(), *model.named_buffers()))
    return {**modules, **{f"shape of {name}": [*value.shape] for name, value in tensors.items()}}


def _describe_criterion(criterion: Any) -> Any:
    """A loss with its settings that are plain values and a digest of its buffers; BCELoss shows neither its reduction nor its weight."""
    if not isinstance(criterion, nn.Module):
        return describe_value(criterion)
    plain = {name: value for name, value in vars(criterion).items() if isinstance(value, int | float | str) and not name.startswith("_")}
    plain.pop("training", None)
    return {"class": _shown(criterion), **plain, "tensors": tensor_digest(dict(criterion.named_buffers()))}


def describe_value(value: Any) -> str:
    """A class or function by its name, anything else by its ``repr`` without memory addresses."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _shown(module: nn.Module) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(module).__name__}({module.extra_repr()})")


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        shown = [f"{name}: {key} was {before.get(key)!r} and is {now.get(key)!r}" for key in keys[:8]]
        return "; ".join(shown) + (f"; {len(keys) - 8} more of {name}" if len(keys) > 8 else "")
    return f"{name} was {before!r} and is {now!r}"
