"""Model saving: the best weights are on disk as soon as they are known, and an interrupted run can be resumed."""

from __future__ import annotations

import logging
import secrets
import time
from numbers import Real
from pathlib import Path
from typing import Any

from torch_rechub.arguments import named_arguments, optional_name, whole_number
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.snapshot import copy_weights
from torch_rechub.basic.callback.training import Training
from torch_rechub.storage.background import Background
from torch_rechub.storage.best_files import BestFiles
from torch_rechub.storage.disk import make_folder
from torch_rechub.storage.files import refuse_obstacle, remove_temporary_files, save_safetensors, save_weights
from torch_rechub.storage.reading import NATURAL, check_shape, is_regular
from torch_rechub.storage.saves import SaveFolder, digest
from torch_rechub.storage.tree import split_tree

__all__ = ["Checkpoint"]

logger = logging.getLogger(__name__)


@named_arguments
class Checkpoint(Callback):
    """Writes ``model_path/model.pth``, the best weights, and what a run needs to be resumed, in ``model_path/resume/``.

    ``model.pth`` is a plain ``state_dict``, replaced atomically at each improvement. It belongs to the latest fit: a run replaces it at
    its first validation with a finite value; until then the file of an earlier run stays. Without validation, or without one finite
    value, it holds the last weights. The folder is created, and a write is tried, before training.

    Saves to resume from are written only on request: by ``fit(..., resume="auto")``, or by a ``Checkpoint`` among the trainer's
    callbacks. They are written after each validation and each epoch, and at a stop by a signal or a time limit.

    Args:
        every_n_steps: also save after every so many optimizer steps.
        every_minutes: also save after every so many minutes.
        monitor: the metric by which ``keep_best`` ranks; the trainer's by default.
        keep_best: weights of so many best validations; more than one are kept in ``model_path/best/`` with a list, best first.
        keep_last: number of saves to resume from that are kept; an older one is used where a newer one was damaged.
        safetensors: write ``model.safetensors`` beside ``model.pth``, with the same weights.
        background: write the saves to resume from in a separate thread, from a copy that takes as much memory as the save. The next
            save, and the end of the run, wait for it and raise its error.

    Raises:
        ValueError: when a number is below 1.
        OSError: naming the folder or file that cannot be written; what was there before is intact.
    """

    free_settings = frozenset(("every_n_steps", "every_minutes", "keep_best", "keep_last", "safetensors", "background"))

    def __init__(
        self,
        every_n_steps: int | None = None,
        every_minutes: float | None = None,
        monitor: str | None = None,
        keep_best: int = 1,
        keep_last: int = 1,
        *,
        safetensors: bool = False,
        background: bool = False,
    ) -> None:
        self.every_n_steps = None if every_n_steps is None else _whole_number("every_n_steps", every_n_steps)
        if every_minutes is not None and not (isinstance(every_minutes, Real) and every_minutes > 0):
            raise ValueError(f"Checkpoint: every_minutes must be > 0; got {every_minutes!r}.")
        self.every_minutes = every_minutes
        optional_name("Checkpoint: monitor", monitor)
        self.monitor, self.keep_best, self.keep_last = monitor, _whole_number("keep_best", keep_best), _whole_number("keep_last", keep_last)
        self.safetensors = safetensors
        self.background = Background() if background else None
        self.wanted = True  # the trainer's built-in one writes saves to resume from only where fit was given resume=
        self.folder: Path | None = None
        self._reset()

    def _reset(self) -> None:
        self._best_on_disk: int | None = None  # the step of the validation whose weights model.pth holds
        self._saved_at = time.monotonic()
        self._run = secrets.token_hex(8)  # the saves of another run are deleted at the first save
        self._digest: str | None = None  # of model.pth, as this run wrote it
        self._copies: Any = None
        self._best_files: BestFiles | None = None

    def want_saves(self, wanted: bool) -> None:
        """Whether the next run writes saves to resume from."""
        self.wanted = wanted

    def check_settings(self, trainer: Training, validates: bool) -> None:
        trainer.direction(self.monitor)

    def on_fit_begin(self, trainer: Training) -> None:
        self._reset()
        direction = trainer.direction(self.monitor)
        self.folder = None if trainer.output_folder is None else make_folder(trainer.output_folder)
        if self.folder is not None:
            self._test_places(self.folder)
            if self.keep_best > 1:
                self._best_files = BestFiles(self.folder / "best", self.keep_best, direction)
                self._best_files.open()

    def _test_places(self, folder: Path) -> None:
        """What would block a write of this run is found before the first step."""
        for name in ("model.pth", *(["model.safetensors"] if self.safetensors else [])):
            refuse_obstacle(folder / name)
        if self.wanted:
            make_folder(folder / "resume")

    def on_batch_end(self, trainer: Training) -> None:
        state = trainer.state
        if not (self.wanted and state.stepped and (self.every_n_steps or self.every_minutes)):
            return
        by_step = self.every_n_steps is not None and state.step % self.every_n_steps == 0
        by_time = self.every_minutes is not None and time.monotonic() - self._saved_at > 60 * self.every_minutes
        if by_step or by_time:
            self._request(trainer)

    def on_new_best(self, trainer: Training) -> None:
        best = trainer.history.best
        if best is not None and self._best_on_disk != best["step"]:
            self._write_best(trainer)

    def on_validation_end(self, trainer: Training) -> None:
        if self._best_files is not None:
            value = trainer.state.metrics[self.monitor or trainer.monitor]
            self._best_files.offer(trainer.state.step, value, trainer.weights, new_run=trainer.state.n_validation == 1)

    def on_record(self, trainer: Training) -> None:
        self._request(trainer)

    def on_epoch_end(self, trainer: Training) -> None:
        self._request(trainer)

    def _request(self, trainer: Training) -> None:
        if self.wanted and self.folder is not None:
            trainer.request_save("to resume from")

    def save(self, trainer: Training) -> None:
        """Write everything that a resumed run needs."""
        if not (self.wanted and self.folder is not None):
            return
        self._saved_at = time.monotonic()
        saves, state = SaveFolder(self.folder / "resume"), trainer.state
        about = {"run": self._run, "epoch": state.epoch, "step": state.step}
        if self.background is None:
            self._write_save(saves, *split_tree(trainer.run_state()), about)
            return
        self.background.join()  # before its copies are overwritten
        plain, tensors = split_tree(trainer.run_state())
        self._copies = copies = copy_weights(tensors, into=self._copies)
        self.background.run(lambda: self._write_save(saves, plain, copies, about))

    def _write_save(self, saves: SaveFolder, plain: Any, tensors: Any, about: dict[str, Any]) -> None:
        name = saves.write_parts(plain, tensors, about)
        saves.prune(self.keep_last, self._run)
        logger.debug("saved step %d as %s", about["step"], name)

    def on_fit_end(self, trainer: Training) -> None:
        try:
            best = trainer.history.best
            if trainer.state.step and not (best is not None and self._best_on_disk == best["step"] and self._is_as_written()):
                self._write_best(trainer)
        finally:
            self._copies = None
            if self.background is not None:
                self.background.join()

    def _write_best(self, trainer: Training) -> None:
        if self.folder is None:
            return
        if not self.folder.is_dir():
            logger.warning("the folder %s has vanished during the run, with the files in it: it is made again", self.folder)
            make_folder(self.folder)
        weights = trainer.weights()
        save_weights(self.folder / "model.pth", weights)
        if self.safetensors:
            save_safetensors(self.folder / "model.safetensors", weights)
        best = trainer.history.best
        self._best_on_disk = None if best is None else best["step"]
        self._digest = digest(self.folder / "model.pth") if self.wanted else None

    def _is_as_written(self) -> bool:
        """Whether ``model.pth`` is the file that this run wrote. Without saves to resume from, only its existence is checked."""
        if self.folder is None:
            return False
        path, exported = self.folder / "model.pth", self.folder / "model.safetensors"
        if not is_regular(path) or (self.safetensors and not is_regular(exported)):
            return False
        return self._digest is None or digest(path) == self._digest

    def state_dict(self) -> dict[str, Any]:
        return {"best_on_disk": self._best_on_disk, "digest": self._digest, "run": self._run}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_shape(state, {"best_on_disk": (None, NATURAL), "digest": (None, str), "run": str})
        self._digest, self._run = state["digest"], state["run"]
        self._best_on_disk = state["best_on_disk"]
        if self.folder is not None:
            remove_temporary_files(self.folder / "model.pth")  # of a process that was killed
            remove_temporary_files(self.folder / "model.safetensors")


def _whole_number(name: str, value: Any) -> int:
    return whole_number(f"Checkpoint: {name}", value, kind="a whole number")
