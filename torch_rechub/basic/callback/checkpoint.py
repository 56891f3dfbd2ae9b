"""Model saving: the best weights are on disk as soon as they are found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.storage import make_folder, save_weights

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Writes ``model_path/model.pth``: the best weights as a plain ``state_dict``, replaced atomically at each improvement.

    The folder is made, and tried, before training. Without validation, or without one finite value, the file holds the last weights.
    It belongs to the latest fit: a run replaces it at its first check, and until then what an earlier run left stays there.

    Raises:
        OSError: naming the folder or file that cannot be written.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.on_disk: dict[str, Any] | None = None  # the record of the check whose weights the file holds

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.folder = None if trainer.model_path is None else make_folder(trainer.model_path)
        self.on_disk = None

    def on_validation_end(self, trainer: Trainer) -> None:
        if trainer.state.is_best:
            trainer.request_save("best weights so far")

    def save(self, trainer: Trainer) -> None:
        if trainer.state.is_best and self.on_disk is not trainer.history.best:
            self._write(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        best = trainer.history.best
        if trainer.state.step and (best is None or self.on_disk is not best):
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if self.folder is not None:
            save_weights(self.folder / "model.pth", trainer.weights())
            self.on_disk = trainer.history.best
