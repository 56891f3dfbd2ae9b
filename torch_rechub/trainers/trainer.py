"""The face of training: fit, and what callbacks may ask for."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable
from typing import Any, Literal

from torch_rechub.basic.callback import Checkpoint
from torch_rechub.basic.callback.history import History
from torch_rechub.basic.callback.state import Paused, Requests, TrainerState
from torch_rechub.engine.batches import with_last
from torch_rechub.engine.fingerprint import fingerprint
from torch_rechub.engine.inputs import check_loaders, length_of
from torch_rechub.engine.mean_loss import MeanLoss
from torch_rechub.engine.resume import capture, find_save, take_up
from torch_rechub.engine.run import Run
from torch_rechub.engine.shares import begin_together, sharing
from torch_rechub.trainers.assembly import Assembly
from torch_rechub.types import FilePath

__all__ = ["Trainer"]

logger = logging.getLogger(__name__)


class Trainer(Assembly):
    """Trains a model. A task's trainer says what its loss and its metrics are; nothing else differs between tasks.

    A run is ``fit > epoch > batch``, with fixed phases: train, validate, decide, save. Whatever happens around them is a callback.
    After ``fit`` the model holds the best weights that a check has seen, however the run ended, and is in evaluation mode.

    Args:
        model: maps features to scores; moved to ``device``.
        optimizer_fn: a function of ``(parameters, **optimizer_params)``, such as a class of ``torch.optim``.
        optimizer_params: None is ``{"lr": 1e-3}``, without weight decay.
        regularization_params: ``embedding_l1``, ``embedding_l2``, ``dense_l1``, ``dense_l2``, added to every step's loss.
        scheduler_fn: a scheduler of ``torch.optim.lr_scheduler``, or any function of the optimizer; see ``LearningRate``.
        scheduler_params: its further arguments.
        n_epoch: epochs at the most.
        earlystop_patience: stop at this many checks in a row without improvement; None never stops early.
        device: "cpu", "cuda:0", ...; "auto" takes the best there is.
        gpus: kept for users of the existing package; at most one entry.
        loss_mode: False where the model returns ``(scores, extra loss)``.
        model_path: the folder for ``model.pth``, made before training; None writes nothing.
        model_logger: one logger or a list, see :mod:`torch_rechub.basic.tracking`.
        metrics: what a check measures: names, classes or instances of :mod:`torch_rechub.basic.metric`.
        monitor: the metric that decides; the first one by default.
        mode: the direction of an assigned ``evaluate_fn``: "max" (default) or "min".
        val_every: check within the epoch as well: a fraction of it, or a number of optimizer steps. Patience counts checks.
        clip_norm: largest 2-norm of all gradients of a step together.
        accumulate: batches of one optimizer step.
        callbacks: added to the built-in ones; an instance of a built-in's class takes its place.
        scheduler_interval: "step", "check" or "epoch", against the scheduler's own habit.
        progress: show a bar, and a line for each check.

    Raises:
        TypeError, ValueError: when an argument cannot be used.
    """

    thread: int | None = None  # the one that fit runs in

    def fit(
        self,
        train_dataloader: Iterable[Any],
        val_dataloader: Iterable[Any] | None = None,
        resume: Literal["auto"] | FilePath | None = None,
    ) -> History:
        """Train from the weights that the model has, with a fresh optimizer, schedule, stopper and history; or go on with a run.

        Args:
            train_dataloader: yields ``(x, y)`` or ``(x, y, weight)``.
            val_dataloader: likewise; None trains ``n_epoch`` epochs and keeps the last weights.
            resume: "auto" goes on from the newest good save under ``model_path``, or starts anew where there is none, and returns at
                once where the run had ended; a folder names another place, which must hold a save. The run ends with the very bits of
                one that was never broken off.

        Returns:
            The history: one record a check, or an epoch where there is no validation.

        Raises:
            ValueError: naming the feature, the row and the remedy, before the first step, when the data cannot be learned from; or
                naming each difference, when the saved run is another one.
        """
        with self.ranks.together(), sharing(train_dataloader, self.ranks):
            self._fit(train_dataloader, val_dataloader, resume)
        if self.requests.then is not None:
            raise self.requests.then
        return self.history

    def _fit(self, train_dataloader: Iterable[Any], val_dataloader: Iterable[Any] | None, resume: Any) -> None:
        self._begin(train_dataloader, val_dataloader, resume)
        run = Run(self, train_dataloader, val_dataloader)
        try:
            self.callbacks.begin()
            saved = self.ranks.of_first(lambda: find_save(self, resume))
            if saved is not None:
                take_up(self, saved, train_dataloader, val_dataloader)
            run.go()
        except Paused as pause:
            self.state.exception = pause.with_traceback(None)  # whose frames would hold on to the loader
            self.callbacks.end("on_exception")
            run.rest()
        except BaseException as error:
            self.state.exception = error
            self.callbacks.end("on_exception")
            raise
        finally:
            self._end()
            self.state.exception = None  # its frames would hold on to a failed step's memory

    def train_one_epoch(self, data_loader: Iterable[Any], log_interval: int = 10) -> float:
        """One epoch with the trainer's optimizer and no check; returns the mean loss over rows.

        Args:
            data_loader: yields ``(x, y)`` or ``(x, y, weight)``.
            log_interval: kept for users of the existing package; the bar needs none.
        """
        self.mean_loss = MeanLoss(self.device)
        self.state.batch = 0
        run = Run(self, data_loader)
        try:
            with self.ranks.together(), sharing(data_loader, self.ranks), run.training() as step:
                for batch, last in with_last(data_loader, self.state):
                    run.batch(step, batch, last)
        finally:
            self.own_tables(False)
        if not self.state.batch:
            raise ValueError("The loader yields no batch: there is nothing to train on.")
        return self.mean_loss.take()

    def request_stop(self, reason: str) -> None:
        """Ask the loop to end the run after the present optimizer step; the first reason is kept."""
        self.wishes.stop = self.wishes.stop or reason

    def request_pause(self, reason: str, then: BaseException | None = None) -> None:
        """Ask the loop to end where the run can be gone on with by ``fit(resume=...)``, and raise ``then`` when it is saved.

        The present step is finished; a wait for data or a check is left at once, and done again when the run goes on.
        """
        self.wishes.pause = self.wishes.pause or reason
        self.wishes.then = self.wishes.then or then
        own_thread = threading.get_ident() == self.thread and self.ranks.alone
        if own_thread and self.state.phase == "wait" and (self.state.stepped or self.state.batch == 0):
            raise Paused

    def capture(self) -> dict[str, Any]:
        """All that the run needs to go on, as it lies."""
        return capture(self)

    def request_validation(self) -> None:
        """Ask for a check after the present optimizer step."""
        self.wishes.validation = True

    def request_save(self, reason: str = "requested") -> None:
        """Ask for a save after the present optimizer step."""
        self.wishes.save = self.wishes.save or reason

    def _begin(self, train: Any, val: Any, resume: Any) -> None:
        check_loaders(self.model, train, val, self.wants_binary_labels)
        if not self.ranks.alone:
            begin_together(self, train, val)
        if self.used:
            self.make_optimizer()
        self.used = True
        n_batch = length_of(train)
        if self.check_times.needs_length and n_batch is None:
            raise ValueError(f"val_every={self.check_times.val_every} is a fraction of an epoch, and the training loader has no length.")
        self.state = TrainerState(n_batch=n_batch)
        self.history = History(self.monitor)
        self.requests = self.wishes = Requests()
        if not self.ranks.alone:
            self.wishes = Requests()
        self.validates = val is not None
        self.total_steps = None if n_batch is None else self.n_epoch * math.ceil(n_batch / self.accumulate)
        self.mean_loss = MeanLoss(self.device)
        self.train_loader, self.resumed, self.thread = train, False, threading.get_ident()
        checkpoint = self.callback(Checkpoint)
        assert checkpoint is not None
        checkpoint.wanted = checkpoint is not self.built_in_checkpoint or resume is not None
        self.fingerprint = fingerprint(self, train, val) if checkpoint.wanted and self.model_path is not None else {}

    def _end(self) -> None:
        self.history.stop_reason = self.state.stop_reason or self.requests.pause
        try:
            self.callbacks.end("on_fit_end")
        finally:
            self.own_tables(False)
            self.model.eval()
            self.state.phase = "idle"
        if self.history.best is None and self.state.step:
            measured = f"no check had a finite {self.monitor}" if len(self.history) else "no check was reached"
            logger.warning("%s: the model keeps its last weights", measured if self.validates else "there was no validation data")
