"""Model saving: the best weights are on disk as soon as they are found, and a run that is broken off can be gone on with."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_rechub.basic.best_files import BestFiles
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.saves import SaveFolder
from torch_rechub.basic.storage import make_folder, save_weights

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
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("keep_best", keep_best), ("keep_last", keep_last)):
            if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
                raise ValueError(f"Checkpoint: {name} must be a whole number >= 1; got {value!r}.")
        if every_minutes is not None and not every_minutes > 0:
            raise ValueError(f"Checkpoint: every_minutes must be > 0; got {every_minutes!r}.")
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self.monitor, self.keep_best, self.keep_last = monitor, keep_best, keep_last
        self.wanted = True  # a trainer's own built-in one writes no saves to go on from unless fit asks
        self.folder: Path | None = None
        self._start()

    def _start(self) -> None:
        self._best_on_disk: int | None = None  # the step of the check whose weights model.pth holds
        self._due = False
        self._saved_at = time.monotonic()
        self._begun = False  # whether this run has saved: what an earlier run left goes then

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.folder = None if trainer.model_path is None else make_folder(trainer.model_path)
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
        if trainer.state.is_best and best is not None and self._best_on_disk != best["step"]:
            self._write_best(trainer)
        if not (self.wanted and self.folder is not None):
            return
        if not trainer.state.at_rest:
            if self._due:  # in the middle of a check: as soon as it is over
                trainer.request_save("to go on from")
            return
        saves = SaveFolder(self.folder / "resume")
        earlier = [] if self._begun else saves.names()
        self._due, self._saved_at, self._begun = False, time.monotonic(), True
        name = saves.write(trainer.capture(), {"epoch": trainer.state.epoch, "step": trainer.state.step})
        saves.prune(1 if earlier and not trainer.resumed else self.keep_last)
        logger.debug("saved step %d as %s", trainer.state.step, name)

    def on_fit_end(self, trainer: Trainer) -> None:
        best = trainer.history.best
        written = (
            best is not None and self._best_on_disk == best["step"] and self.folder is not None and (self.folder / "model.pth").exists()
        )
        if trainer.state.step and not written:
            self._write_best(trainer)

    def _write_best(self, trainer: Trainer) -> None:
        if self.folder is not None:
            save_weights(self.folder / "model.pth", trainer.weights())
            best = trainer.history.best
            self._best_on_disk = None if best is None else best["step"]

    def state_dict(self) -> dict[str, Any]:
        return {"best_on_disk": self._best_on_disk}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best_on_disk = state["best_on_disk"]
        self._begun = True
