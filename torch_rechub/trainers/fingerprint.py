"""What makes two runs the same run: compared before a saved one is gone on with."""

from __future__ import annotations

import logging
import platform
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_rechub.basic.saves import tensor_digest
from torch_rechub.data.loader import TableLoader
from torch_rechub.trainers.assembly import Assembly
from torch_rechub.trainers.inputs import length_of

__all__ = ["compare_fingerprints", "fingerprint"]

logger = logging.getLogger(__name__)
#: What may differ; it is logged, since the bits may then differ as well.
MAY_DIFFER = {"n_epoch", "patience", "model_path", "device", "threads", "workers", "versions"}


def fingerprint(trainer: Assembly, train: Any, val: Any) -> dict[str, Any]:
    """The settings of a run as plain values, the data by a digest of its content."""
    options = {name: value for name, value in trainer.optimizer_params.items() if isinstance(value, int | float | str | tuple | list)}
    return {
        "model": _model(trainer.model),
        "training data": _data(train),
        "validation data": None if val is None else _data(val),
        "optimizer": {"class": getattr(trainer.optimizer_fn, "__name__", repr(trainer.optimizer_fn)), **options},
        "criterion": repr(trainer.criterion),
        "regularization": [getattr(trainer.regularization, name) for name in ("embedding_l1", "embedding_l2", "dense_l1", "dense_l2")],
        "accumulate": trainer.accumulate,
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
        return ", ".join(
            f"{name}: {key} was {before.get(key)!r} and is {now.get(key)!r}" for key in {**before, **now} if before.get(key) != now.get(key)
        )
    return f"{name} was {before!r} and is {now!r}"


def _model(model: nn.Module) -> dict[str, Any]:
    shapes = {name: [*value.shape] for name, value in (*model.named_parameters(), *model.named_buffers())}
    return {"class": type(model).__name__, **shapes}


def _data(loader: Any) -> dict[str, Any]:
    about: dict[str, Any] = {
        "loader": type(loader).__name__,
        "batch_size": getattr(loader, "batch_size", None),
        "batches": length_of(loader),
    }
    if not isinstance(loader, TableLoader):
        return about
    x, table = loader.table.x, loader.table
    about |= {"columns": list(x), "rows": len(table), "shuffle": loader.shuffle, "seed": loader.seed, "drop_last": loader.drop_last}
    parts: dict[str, Tensor | None] = {"ids": x.ids, "numbers": x.numbers, "y": table.y, "weight": table.weight}
    parts |= {f"block {i}": block for i, block in enumerate(x.blocks)}
    return {**about, "content": tensor_digest({name: part for name, part in parts.items() if part is not None})}
