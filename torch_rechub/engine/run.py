"""One run of training: epochs of optimizer steps, with the phases train, validate, decide, save."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from torch_rechub.basic.callback.history import History
from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.data.protocol import Loader, facts_of
from torch_rechub.engine.context import RunContext
from torch_rechub.engine.groups import batch_groups
from torch_rechub.engine.mean_loss import MeanLoss
from torch_rechub.engine.optimizers import attach_tables, detach_tables
from torch_rechub.engine.requests import RequestQueue
from torch_rechub.engine.saved_run import load_state, rank_state, state_of
from torch_rechub.engine.step import OptimizerStep
from torch_rechub.engine.validation import Paused, Validation
from torch_rechub.storage import FolderLock

__all__ = ["Run"]

logger = logging.getLogger(__name__)

ENDED: Any = None  #: in place of the training data of a run that has ended


class Run:
    """Everything that belongs to one ``fit``: state, history, requests, loaders, gradients, the sums of the loss.

    Args:
        trainer: the model, its callbacks and the settings that belong to many runs.
        optimizer: changes the weights.
        train: the training data.
        val: the validation data, or None.
        first_epoch: the epoch of the data that this run begins with: a second ``fit`` continues the order of the first.
    """

    def __init__(
        self, trainer: RunContext, optimizer: torch.optim.Optimizer, train: Loader, val: Loader | None = None, first_epoch: int = 0
    ) -> None:
        self.trainer, self.optimizer, self.train, self.val, self.first_epoch = trainer, optimizer, train, val, first_epoch
        self.history = History(trainer.monitor)
        self.state = TrainerState(self.history, n_batch=train.n_batch, n_validation_batch=None if val is None else val.n_batch)
        self.requests = RequestQueue(trainer.ranks)
        self.mean_loss = MeanLoss(trainer.device)
        self.validate = None if val is None else Validation(trainer, self.state, val, self.record, lambda: self.requests.is_paused)
        self.rank_states: list[dict[str, Any]] = []  # what each other rank alone knows, for a save
        self.identity: dict[str, Any] = {}
        self.data_facts: dict[str, dict[str, Any]] = {}  # of "train" and "validation", for reports and loggers
        self.lock: FolderLock | None = None  # of the folder of the saves, in the process that writes
        self.resumed = False
        self.n_begun = 0  # epochs of this run that have begun, also those that were not finished
        self.has_validation = val is not None
        self._thread = threading.get_ident()

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps of an epoch; None where the loader has no length."""
        return None if self.state.n_batch is None else math.ceil(self.state.n_batch / self.trainer.accumulate)

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole run; None where the loader has no length."""
        return None if self.steps_per_epoch is None else self.trainer.n_epoch * self.steps_per_epoch

    def begin(self, identity: dict[str, Any]) -> None:
        """Leave the phase "idle".

        Args:
            identity: goes into saves to resume from.
        """
        self.identity, self.state.phase = identity, "train"
        self.data_facts = {
            name: facts_of(loader) for name, loader in (("train", self.train), ("validation", self.val)) if loader is not None
        }

    def fail(self, error: BaseException) -> None:
        """Note what ended the run before its time, and tell the callbacks; a pause is no failure."""
        self.state.exception = error
        if not isinstance(error, Paused):
            self.state.failure = f"{type(error).__name__}: {error}".removesuffix(": ")
        with self._first_error_is_raised():
            self.trainer.callbacks.call_all("on_exception")

    def loop(self) -> None:
        """Train until the last epoch is done or a stop was requested."""
        state = self.state
        self.handle_requests()
        while not self.requests.is_paused and (state.in_epoch or (state.epoch < self.trainer.n_epoch and state.stop_reason is None)):
            self.epoch()

    def epoch(self) -> None:
        """One epoch, or the rest of one that was interrupted."""
        state, callbacks = self.state, self.trainer.callbacks
        if not state.in_epoch:
            state.begin_epoch()
            self.n_begun = state.epoch + 1
            with self.trainer.ranks.same_random_numbers(self.trainer.device):
                callbacks.call("on_epoch_begin")
            self.requests.exchange()
            self.handle_requests()
        if state.stop_reason is None and not state.epoch_done and not self.requests.is_paused:
            self.train_batches()
            if state.batch == 0 and not self.requests.is_paused:
                walked = " An iterator can be walked once only: give a list or a loader." if state.epoch else ""
                raise ValueError(f"The training loader yields no batch: there is nothing to train on.{walked}")
        if not self.requests.is_paused:
            self.end_epoch()

    def train_batches(self) -> None:
        """The batches of the epoch that have not been trained on, and the validations between them."""
        with self.training() as step:
            if self.state.validation_pending:  # the run was paused within this validation
                self.run_validation(within_epoch=True)
                if self.handle_requests():
                    return
            several = not self.trainer.ranks.is_single
            for group, end in batch_groups(self.train, self.state, self.first_epoch, self.trainer.accumulate, several):
                if not step(group):
                    break
                self.state.batch = end
                self.requests.exchange()
                if self._validation_is_due():
                    self.run_validation(within_epoch=True)
                if self.handle_requests():
                    return
            self.state.epoch_done = True

    def end_epoch(self) -> None:
        """The validation at the end of an epoch, unless there was one after its last step or the run was stopped within the epoch."""
        state, trainer = self.state, self.trainer
        stopped_within = state.stop_reason is not None
        if self.val is None:
            if state.batch:
                self.record({})
                trainer.callbacks.call("on_record")
        elif state.validated_at != state.step and state.stop_reason is None:
            self.run_validation(within_epoch=False)
        trainer.callbacks.call("on_epoch_end")
        trainer.objective.epoch_end(self.mean_loss.take_epoch())
        state.end_epoch()
        self.requests.exchange()
        if stopped_within:  # the save at the stop is the last one: with more patience the run goes on within the epoch
            self.requests.current.save = None
        self.handle_requests()

    @contextmanager
    def training(self) -> Generator[OptimizerStep, None, None]:
        """The model in training mode, its tables in row mode, and no gradients before or after."""
        trainer = self.trainer
        trainer.objective.train()
        attach_tables(self.optimizer)
        self.optimizer.zero_grad()
        step = OptimizerStep(
            trainer.objective,
            trainer.forward_module(),
            self.optimizer,
            trainer.callbacks,
            self.state,
            self.mean_loss,
            trainer.ranks,
            trainer.device,
            trainer.clip_norm,
            trainer.precision,
        )
        try:
            yield step
        finally:
            self.optimizer.zero_grad()
            self.state.current_batch = None

    def _validation_is_due(self) -> bool:
        requested, self.requests.current.validation = self.requests.current.validation, False
        due = self.trainer.validation_times.due(self.state.epoch_step, self.steps_per_epoch)
        return self.val is not None and (requested or due)

    def run_validation(self, within_epoch: bool) -> None:
        """Validate and decide."""
        assert self.validate is not None
        self.validate(within_epoch)
        self.requests.exchange()
        self.state.phase = "train"

    def record(self, metrics: dict[str, float]) -> None:
        """Add a record to the history."""
        state = self.state
        facts = {"epoch": state.epoch + 1, "step": state.step, "rows": state.rows, "seconds": round(state.seconds, 3)}
        lr = float(self.optimizer.param_groups[0]["lr"])
        self.history.append({**facts, **self.mean_loss.take(), "lr": lr, **metrics})

    def request_pause(self, reason: str, then: BaseException | None) -> None:
        """Request a pause. While the loop waits for data, a call in its own thread leaves it at once."""
        self.requests.pause(reason, then)
        if threading.get_ident() == self._thread and self.trainer.ranks.is_single and self.state.phase == "wait":
            raise Paused

    def handle_requests(self) -> bool:
        """Do what was requested since the last optimizer step; True when the loop is to be left."""
        if self.requests.current.stop is not None:
            self.history.stop(self.requests.current.stop)
        self.save()
        return self.state.stop_reason is not None or self.requests.is_paused

    def save(self) -> None:
        """Write a save to resume from, if one was requested: between two steps, with no validation half done."""
        current = self.requests.current
        requested, current.save = current.save or current.pause, None
        if requested is None or not self.trainer.writes_saves:
            return
        self.rank_states = self.trainer.ranks.all_gather_objects(rank_state(self))[1:]
        phase, self.state.phase = self.state.phase, "save"
        if self.lock is not None:
            self.lock.ensure()  # the folder may have vanished meanwhile
        self.trainer.callbacks.call("save")
        self.trainer.callbacks.call("on_save")
        self.state.phase = phase

    def state_dict(self) -> dict[str, Any]:
        """The save: everything that a resumed run needs."""
        return state_of(self)

    def load_state_dict(self, saved: dict[str, Any], accept: Sequence[str] = ()) -> None:
        """Continue the saved run, with the random states of torch, numpy and Python.

        Args:
            saved: what :meth:`state_dict` gave.
            accept: names of settings that may differ from the saved ones; the present ones hold.

        Raises:
            ValueError: naming what is wrong with the save, or what differs, when the saved run is another one; nothing is changed then.
        """
        load_state(self, saved, accept)
        self.resumed = True
        logger.info("resuming the run saved at step %d of epoch %d", self.state.step, self.state.epoch + 1)

    def end(self) -> None:
        """Restore the weights with which the run ends, call ``on_fit_end``, and release what only training needs."""
        try:
            with self._first_error_is_raised():
                self._restore()
        finally:
            detach_tables(self.optimizer)
            self.trainer.objective.eval()
            self.close()

    def _restore(self) -> None:
        callbacks = self.trainer.callbacks
        try:
            callbacks.call_all("restore")
        finally:
            if self.requests.current.pause is not None:
                self.state.paused = True
                self.history.stop(self.requests.current.pause)
            callbacks.call_all("on_fit_end")

    @contextmanager
    def _first_error_is_raised(self) -> Generator[None, None, None]:
        """An error within is logged only where another one has ended the run: a full disk is reported once, and by its first error."""
        try:
            yield
        except Exception as error:
            if self.state.failure is None:
                raise
            logger.error("after the error that ended the run: %s: %s", type(error).__name__, error)

    def close(self) -> None:
        """Keep of the run its state and history only."""
        self.state.end()
        self.validate = self.val = None
        self.train = ENDED
