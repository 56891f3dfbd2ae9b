"""The facts of a run that a report shows besides its history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from torch_rechub.kernels import kernels_for
from torch_rechub.report import Ending, environment, report_page
from torch_rechub.storage import make_folder, write_text
from torch_rechub.types import FilePath

__all__ = ["ending_of", "write_report"]


def write_report(trainer: Any, path: FilePath) -> Path:
    """The trainer's latest run as one HTML file, replaced atomically; returns its path."""
    title = f"{type(trainer.model).__name__} by {type(trainer).__name__}"
    page = report_page(trainer.history, title, ending_of(trainer), _settings(trainer), _environment(trainer.device))
    make_folder(Path(path).parent)
    write_text(path, page)
    return Path(path)


def ending_of(trainer: Any) -> Ending:
    """How the trainer's latest run ended."""
    state = trainer.state
    if state.failure is not None:
        return Ending("failed", state.failure)
    if state.paused:
        return Ending("paused", state.stop_reason or "")
    if state.stop_reason:
        return Ending("stopped", state.stop_reason)
    if state.epoch >= trainer.n_epoch:
        return Ending("finished", "all epochs were run: " + str(trainer.n_epoch))
    return Ending("not run", "no epoch was finished")


def _settings(trainer: Any) -> dict[str, Any]:
    """What a logger records, and the callbacks in the order in which they run."""
    callbacks = {f"callback {i}": repr(callback) for i, callback in enumerate(trainer.callbacks, 1)}
    more = {"parameters": sum(weight.numel() for weight in trainer.model.parameters()), "val_every": trainer.validation_times.val_every}
    rate = trainer.optimizer_params.get("lr", trainer.optimizer.defaults.get("lr"))  # where the schedule began
    return {**trainer.settings(), "learning_rate": rate, **more, "model_path": trainer.model_path, **callbacks}


def _environment(device: torch.device) -> dict[str, Any]:
    """Versions, device, threads and kernels of this process."""
    kernels: Any = kernels_for(torch.zeros(1, 1, device=device))
    return environment(device, kernels=kernels.__name__.rpartition(".")[2])
