"""Model saving: the best weights are on disk as soon as they are found, and a run that is broken off can be gone on with."""

from __future__ import annotations

import logging
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.snapshot import copy_weights
from torch_rechub.storage.background import Background
from torch_rechub.storage.best_files import BestFiles
from torch_rechub.storage.files import make_folder, save_safetensors, save_weights
from torch_rechub.storage.saves import SaveFolder, digest
from torch_rechub.storage.tree import split_tree

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Checkpoint"]

logger = logging.getLogger(__name__)


class Checkpoint(Callback):
    """Writes ``model_path/model.pth``, the best weights, and what a run needs to go on, in ``model_path/resume/``.

    ``model.pth`` is a plain ``state_dict``, replaced atomically at each improvement. It belongs to the latest fit: a run replaces it at
    its first check, and until then what an earlier run left stays there. Without validation, or without one finite value, it holds the
    last weights. The folder is made, and tried, before training.

    What is needed to go on is written only when somebody wants it: ``fit(..., resume="auto")``, or a ``Checkpoint`` of one's own among
    the trainer's callbacks. It is written after each check and each epoch, and at a stop by a signal or a time limit.

    Args:
        every_n_steps: write it after so many optimizer steps as well.
        every_minutes: and after so many minutes.
        monitor: the metric by which ``keep_best`` ranks; the trainer's by default.
        keep_best: weights of so many best checks; more than one are kept in ``model_path/best/`` with a list, best first.
        keep_last: saves to go on from that are kept; an older one serves where a newer one was damaged.
        safetensors: write ``model.safetensors`` beside ``model.pth``, with the same weights.
        background: write the saves to go on from in a thread of their own, from a copy that takes as much memory as the save; the next
            save, and the end of the run, wait for it. An error is raised then.

    Raises:
        ValueError: when a number is below 1.
        OSError: naming the folder or file that cannot be written; what was there before is intact.
    """

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
        for name, value in (("every_n_steps", every_n_steps), ("keep_best", keep_best), ("keep_last", keep_last)):
            if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
                raise ValueError(f"Checkpoint: {name} must be a whole number >= 1; got {value!r}.")
        if every_minutes is not None and not every_minutes > 0:
            raise ValueError(f"Checkpoint: every_minutes must be > 0; got {every_minutes!r}.")
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self.monitor, self.keep_best, self.keep_last = monitor, keep_best, keep_last
        self.safetensors = safetensors
        self.background = Background() if background else None
        self.wanted = True  # a trainer's own built-in one writes no saves to go on from unless fit asks
        self.folder: Path | None = None
        self._start()

    def _start(self) -> None:
        self._best_on_disk: int | None = None  # the step of the check whose weights model.pth holds
        self._due = False
        self._saved_at = time.monotonic()
        self._run = secrets.token_hex(8)  # what another run left goes at the first save
        self._digest: str | None = None  # of model.pth, as this run wrote it
        self._copies: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.folder = None if trainer.output_folder is None else make_folder(trainer.output_folder)
        self._start()
        trainer.direction(self.monitor)

    def on_batch_end(self, trainer: Trainer) -> None:
        state = trainer.state
        if not (self.wanted and state.stepped and (self.every_n_steps or self.every_minutes)):
            return
        by_step = self.every_n_steps is not None and state.step % self.every_n_steps == 0
        by_time = self.every_minutes is not None and time.monotonic() - self._saved_at > 60 * self.every_minutes
        if by_step or by_time:
            self._ask(trainer)

    def on_validation_end(self, trainer: Trainer) -> None:
        if trainer.state.is_best:
            trainer.request_save("best weights so far")
        if self.keep_best > 1 and self.folder is not None:
            value = trainer.state.metrics[self.monitor or trainer.monitor]
            better = BestFiles(self.folder / "best", self.keep_best, trainer.direction(self.monitor))
            better.offer(trainer.state.step, value, trainer.weights, anew=trainer.state.check == 1)
        self._ask(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        self._ask(trainer)

    def _ask(self, trainer: Trainer) -> None:
        if self.wanted and self.folder is not None:
            self._due = True
            trainer.request_save("to go on from")

    def save(self, trainer: Trainer) -> None:
        """Write the best weights at once; and all that the run needs to go on, where it is at rest."""
        best = trainer.history.best
        in_check = not trainer.state.at_rest  # where the model holds what was measured
        if in_check and trainer.state.is_best and best is not None and self._best_on_disk != best["step"]:
            self._write_best(trainer)
        if not (self.wanted and self.folder is not None):
            return
        if not trainer.state.at_rest:
            if self._due:  # in the middle of a check: as soon as it is over
                trainer.request_save("to go on from")
            return
        self._due, self._saved_at = False, time.monotonic()
        saves, state = SaveFolder(self.folder / "resume"), trainer.state
        about = {"run": self._run, "epoch": state.epoch, "step": state.step}
        if self.background is None:
            self._write_save(saves, *split_tree(trainer.capture()), about)
            return
        self.background.join()  # before its copies are written over
        plain, tensors = split_tree(trainer.capture())
        self._copies = copies = copy_weights(tensors, into=self._copies)
        self.background.run(lambda: self._write_save(saves, plain, copies, about))

    def _write_save(self, saves: SaveFolder, plain: Any, tensors: Any, about: dict[str, Any]) -> None:
        name = saves.write_parts(plain, tensors, about)
        saves.prune(self.keep_last, self._run)
        logger.debug("saved step %d as %s", about["step"], name)

    def on_fit_end(self, trainer: Trainer) -> None:
        try:
            best = trainer.history.best
            if trainer.state.step and not (best is not None and self._best_on_disk == best["step"] and self._is_as_written()):
                self._write_best(trainer)
        finally:
            self._copies = None
            if self.background is not None:
                self.background.join()

    def _write_best(self, trainer: Trainer) -> None:
        if self.folder is not None:
            weights = trainer.weights()
            save_weights(self.folder / "model.pth", weights)
            if self.safetensors:
                save_safetensors(self.folder / "model.safetensors", weights)
            best = trainer.history.best
            self._best_on_disk = None if best is None else best["step"]
            self._digest = digest(self.folder / "model.pth") if self.wanted else None

    def _is_as_written(self) -> bool:
        """Whether model.pth is there and, as far as that is known, what this run wrote: another one may have written since."""
        path = None if self.folder is None else self.folder / "model.pth"
        exported = self.folder is None or not self.safetensors or (self.folder / "model.safetensors").exists()
        return path is not None and exported and path.exists() and (self._digest is None or digest(path) == self._digest)

    def state_dict(self) -> dict[str, Any]:
        return {"best_on_disk": self._best_on_disk, "digest": self._digest, "run": self._run}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._digest, self._run = state["digest"], state["run"]
        self._best_on_disk = state["best_on_disk"]
        if self.folder is not None:
            for left in self.folder.glob("model.pth.*.tmp"):  # by a process that was killed
                left.unlink(missing_ok=True)
