"""What a report says beside the history: how the run ended, its settings, and where it ran."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
import torch

from torch_rechub.optim.kernels import kernels_for

__all__ = ["Ending", "ending_of", "environment", "settings_of"]


@dataclass(frozen=True)
class Ending:
    """How a run ended: in a word, and why."""

    kind: Literal["finished", "stopped", "paused", "failed", "not run"]
    reason: str


def ending_of(trainer: Any) -> Ending:
    """How the trainer's latest run ended."""
    state, pause = trainer.state, getattr(trainer.requests, "pause", None)
    if pause:
        return Ending("paused", pause)
    if state.exception is not None:
        said = str(state.exception)
        return Ending("failed", type(state.exception).__name__ + (f": {said}" if said else ""))
    if state.stop_reason:
        return Ending("stopped", state.stop_reason)
    if state.epoch >= trainer.n_epoch:
        return Ending("finished", "all epochs were run: " + str(trainer.n_epoch))
    return Ending("not run", "no epoch was finished")


def settings_of(trainer: Any) -> dict[str, Any]:
    """What a logger records, and the callbacks in the order in which they run."""
    callbacks = {f"callback {i}": repr(callback) for i, callback in enumerate(trainer.callbacks, 1)}
    more = {"parameters": sum(weight.numel() for weight in trainer.model.parameters()), "val_every": trainer.check_times.val_every}
    rate = trainer.optimizer_params.get("lr", trainer.optimizer.defaults.get("lr"))  # where the schedule began
    return {**trainer.settings(), "learning_rate": rate, **more, "model_path": trainer.model_path, **callbacks}


def environment(device: torch.device | None = None) -> dict[str, Any]:
    """Versions, device, threads and kernels of this process; nothing that names the machine or its user."""
    kernels: Any = kernels_for(torch.zeros(1, 1, device=device))
    facts: dict[str, Any] = {
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "torch-rechub": _version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "kernels": kernels.__name__.rpartition(".")[2],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if device is not None and device.type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return {"device": str(device or "cpu"), **facts}


def _version() -> str:
    try:
        return version("torch-rechub")
    except PackageNotFoundError:
        return "not installed"
