"""The run that is killed: small, with every stateful feature, and with counters in shared memory for the killing process."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_rechub.basic.callback import EMA, Callback, Checkpoint
from torch_rechub.basic.features import SparseFeature
from torch_rechub.data import DataGenerator
from torch_rechub.models.ranking import DeepFM
from torch_rechub.storage.saves import SaveFolder
from torch_rechub.trainers import CTRTrainer

N_EPOCH, N_ROW, BATCH = 2, 192, 32
FEATURES = [SparseFeature("user", 3000, 8), SparseFeature("item", 500, 8)]
KINDS = ("plain", "background", "averaged")  #: saves by the loop, by a thread, and of averaged weights with accumulation


class Window:
    """Four numbers that parent and child share: batches, validations and saves done, and whether a save is being written."""

    BATCHES, VALIDATIONS, SAVES, SAVING = range(4)

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 4)

    def __getitem__(self, place: int) -> int:
        return self.memory[place]

    def __setitem__(self, place: int, number: int) -> None:
        self.memory[place] = min(number, 255)

    def clear(self) -> None:
        """Set all numbers to 0."""
        self.memory[:] = bytes(4)


class Reports(Callback):
    """Writes the progress of the run into the window."""

    part_of_run = False

    def __init__(self, window: Window) -> None:
        self.window = window

    def on_batch_end(self, trainer: Any) -> None:
        self.window[Window.BATCHES] += 1

    def save(self, trainer: Any) -> None:
        self.window[Window.SAVING] = 1

    def on_save(self, trainer: Any) -> None:
        self.window[Window.SAVING] = 0
        self.window[Window.SAVES] += 1

    def on_record(self, trainer: Any) -> None:
        self.window[Window.VALIDATIONS] += 1


class Digests(Callback):
    """The digest of the weights at each validation: ``model.pth`` may hold no others."""

    part_of_run = False

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_validation_end(self, trainer: Any) -> None:
        self.seen.append(digest_of(trainer.model.state_dict()))


def digest_of(weights: Any) -> str:
    """The digest of a ``state_dict``."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, value in weights.items():
        hasher.update(name.encode() + value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()


def train(folder: Path, kind: str, window: Window, seed: int) -> dict[str, Any]:
    """Run in ``folder``, or resume the run there; returns its results. ``seed`` sets the random states of the process only."""
    digests = Digests()
    loaders = _loaders()
    torch.manual_seed(0)
    model = DeepFM(FEATURES, FEATURES, {"dims": [8], "dropout": 0.3})
    if SaveFolder(folder / "resume").names():  # a run that begins always begins with the same states
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
    checkpoint = Checkpoint(every_n_steps=2, keep_last=2, keep_best=2, background=kind == "background", safetensors=kind == "plain")
    averages: list[Callback] = [EMA(0.9)] if kind == "averaged" else []
    trainer = CTRTrainer(
        model,
        optimizer_params={"lr": 0.02},
        scheduler_fn=torch.optim.lr_scheduler.CosineAnnealingLR,
        scheduler_params={"T_max": 4},
        n_epoch=N_EPOCH,
        val_every=2,
        accumulate=2 if kind == "averaged" else 1,
        model_path=folder,
        progress=False,
        callbacks=[*averages, digests, Reports(window), checkpoint],
    )
    history = trainer.fit(*loaders, resume="auto")
    records = [{name: value for name, value in record.items() if name != "seconds"} for record in history]
    return {
        "weights": digest_of(trainer.model.state_dict()),
        "history": repr(records),
        "validations": digests.seen,
        "stop": history.stop_reason,
    }


def _loaders() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = {"user": rng.integers(0, 3000, N_ROW), "item": rng.integers(0, 500, N_ROW)}
    y = ((x["user"] + x["item"]) % 3 == 0).astype(np.float32)
    generator = DataGenerator({name: column[:128] for name, column in x.items()}, y[:128])
    return generator.generate_dataloader({name: column[128:] for name, column in x.items()}, y[128:], batch_size=BATCH, seed=1)[:2]


def slow_disk(seconds: float, seed: int) -> None:
    """Make each relevant call of a save wait a random time, so that a kill falls before or after any of them."""
    wait = random.Random(seed)
    for name in ("fsync", "replace", "rename", "open"):
        _slow(name, getattr(os, name), seconds, wait)


def _slow(name: str, real: Any, seconds: float, wait: random.Random) -> None:
    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(wait.random() * seconds)
        return real(*arguments, **options)

    setattr(os, name, slowly)
