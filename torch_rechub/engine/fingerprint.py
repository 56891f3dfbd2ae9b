"""What makes two runs the same run: compared before a saved one is gone on with."""

from __future__ import annotations

import logging
import platform
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_rechub.basic.callback import LearningRate
from torch_rechub.data.loader import TableLoader
from torch_rechub.engine.inputs import length_of
from torch_rechub.storage.saves import tensor_digest

__all__ = ["compare_fingerprints", "fingerprint"]

logger = logging.getLogger(__name__)
#: What may differ; it is logged, since the bits may then differ as well.
MAY_DIFFER = {"n_epoch", "patience", "model_path", "device", "threads", "workers", "versions"}


def fingerprint(trainer: Any, train: Any, val: Any) -> dict[str, Any]:
    """The settings of a run as plain values, the data by a digest of its content."""
    options = {name: value for name, value in trainer.optimizer_params.items() if isinstance(value, int | float | str | tuple | list)}
    schedule = trainer.callback(LearningRate)
    return {
        "model": _model(trainer.model),
        "training data": {**_data(train), **_order(train)},
        "validation data": None if val is None else _data(val),
        "optimizer": {"class": _spelled(trainer.optimizer_fn), **options},
        "schedule": None if schedule is None else _schedule(schedule, trainer.total_steps),
        "criterion": _criterion(trainer.criterion),
        "regularization": [getattr(trainer.regularization, name) for name in ("embedding_l1", "embedding_l2", "dense_l1", "dense_l2")],
        "accumulate": trainer.accumulate,
        "processes": trainer.ranks.size,
        "clip_norm": trainer.clip_norm,
        "val_every": trainer.check_times.val_every,
        "metrics": [metric.name for metric in trainer.scoring.metrics],
        "monitor": trainer.monitor,
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks if callback.part_of_run],
        "n_epoch": trainer.n_epoch,
        "patience": trainer.early_stopper.patience,
        "model_path": str(trainer.model_path),
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
        "workers": getattr(train, "num_workers", 0),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }


def compare_fingerprints(saved: dict[str, Any], present: dict[str, Any]) -> None:
    """Refuse to go on with another run; log what differs and does no harm.

    Raises:
        ValueError: naming each difference.
    """
    differences: list[str] = []
    for name, now in present.items():
        before = saved.get(name)
        if before == now:
            continue
        if name in MAY_DIFFER:
            logger.info("going on with another %s: %s, it was %s", name, now, before)
        else:
            differences.append(_difference(name, before, now))
    if differences:
        raise ValueError(
            f"The saved run is another one: {'; '.join(differences)}. Make them equal to go on, or leave out resume= to start anew."
        )


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        shown = [f"{name}: {key} was {before.get(key)!r} and is {now.get(key)!r}" for key in keys[:8]]
        return "; ".join(shown) + (f"; {len(keys) - 8} more of {name}" if len(keys) > 8 else "")
    return f"{name} was {before!r} and is {now!r}"


def _spelled(value: Any) -> str:
    """A class or function by its name, anything else as it shows itself, without the addresses that change from run to run."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _model(model: nn.Module) -> dict[str, Any]:
    """Its modules with what they show of themselves (a dropout rate, an activation), and the shapes of its tensors."""
    modules = {name or "class": _shown(module) for name, module in model.named_modules()}
    tensors = (*model.named_parameters(), *model.named_buffers())
    return {**modules, **{f"shape of {name}": [*value.shape] for name, value in tensors}}


def _shown(module: nn.Module) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(module).__name__}({module.extra_repr()})")


def _criterion(criterion: Any) -> Any:
    """A loss with the settings that are plain values and the tensors it holds; BCELoss shows neither its reduction nor its weight."""
    if not isinstance(criterion, nn.Module):
        return _spelled(criterion)
    plain = {name: value for name, value in vars(criterion).items() if isinstance(value, int | float | str) and not name.startswith("_")}
    return {"class": _shown(criterion), **plain, "tensors": tensor_digest(criterion.state_dict())}


def _schedule(schedule: LearningRate, total_steps: int | None) -> dict[str, Any]:
    """What a schedule does to the rate; one that was made for a number of steps is another one for another number."""
    length = total_steps if schedule.needs_length() else None
    return {"scheduler": _spelled(schedule), "interval": schedule.given_interval, "total steps": length}


def _data(loader: Any) -> dict[str, Any]:
    """Names, types, sizes and content; of a foreign loader what it tells, and its content where its data set is of tensors."""
    about: dict[str, Any] = {"loader": type(loader).__name__, "batches": length_of(loader)}
    if not isinstance(loader, TableLoader):
        dataset = getattr(loader, "dataset", None)
        parts: Any = getattr(dataset, "tensors", ())
        tensors = {str(i): part for i, part in enumerate(parts) if isinstance(part, Tensor)}
        return {**about, "rows": length_of(dataset), "content": tensor_digest(tensors) if tensors else None}
    x, table = loader.table.x, loader.table
    held: dict[str, Tensor | None] = {"ids": x.ids, "numbers": x.numbers, "y": table.y, "weight": table.weight}
    held |= {f"block {i}": block for i, block in enumerate(x.blocks)}
    digests = {f"content of {name}": tensor_digest({name: part}) for name, part in held.items() if part is not None}
    return {**about, "columns": list(x), "rows": len(table), **digests}


def _order(loader: Any) -> dict[str, Any]:
    """How the training rows are cut into batches."""
    names = ("batch_size", "shuffle", "seed", "drop_last") if isinstance(loader, TableLoader) else ("batch_size", "drop_last")
    return {name: getattr(loader, name, None) for name in names}
