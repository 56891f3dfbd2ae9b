"""The training loop: there is only one."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch_rechub.basic.batch import split_batch
from torch_rechub.data.loader import TableLoader
from torch_rechub.trainers.assembly import Assembly
from torch_rechub.trainers.evaluation import measure
from torch_rechub.trainers.gradients import Gradients
from torch_rechub.trainers.history import History
from torch_rechub.trainers.inputs import check_loaders, length_of
from torch_rechub.trainers.mean_loss import MeanLoss, size_of
from torch_rechub.trainers.state import Requests, TrainerState
from torch_rechub.trainers.train_step import TrainStep

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

    def fit(self, train_dataloader: Iterable[Any], val_dataloader: Iterable[Any] | None = None) -> History:
        """Train from the weights that the model has, with a fresh optimizer, schedule, stopper and history.

        Args:
            train_dataloader: yields ``(x, y)`` or ``(x, y, weight)``.
            val_dataloader: likewise; None trains ``n_epoch`` epochs and keeps the last weights.

        Returns:
            The history: one record a check, or an epoch where there is no validation.

        Raises:
            ValueError: naming the feature, the row and the remedy, before the first step, when the data cannot be learned from.
        """
        self._begin(train_dataloader, val_dataloader)
        try:
            self.callbacks.begin()
            while self.state.epoch < self.n_epoch and self.state.stop_reason is None:
                self._epoch(train_dataloader, val_dataloader)
        except BaseException as error:
            self.state.exception = error
            self.callbacks.end("on_exception")
            raise
        finally:
            self._end()
        return self.history

    def train_one_epoch(self, data_loader: Iterable[Any], log_interval: int = 10) -> float:
        """One epoch with the trainer's optimizer and no check; returns the mean loss over rows.

        Args:
            data_loader: yields ``(x, y)`` or ``(x, y, weight)``.
            log_interval: kept for users of the existing package; the bar needs none.
        """
        self._loss = MeanLoss(self.device)
        self.state.batch = 0
        try:
            with self._training() as step:
                for batch, last in with_last(data_loader):
                    self._batch(step, batch, last)
        finally:
            self.own_tables(False)
        if not self.state.batch:
            raise ValueError("The loader yields no batch: there is nothing to train on.")
        return self._loss.take()

    def request_stop(self, reason: str) -> None:
        """Ask the loop to end the run after the present optimizer step; the first reason is kept."""
        self.requests.stop = self.requests.stop or reason

    def request_validation(self) -> None:
        """Ask for a check after the present optimizer step."""
        self.requests.validation = True

    def request_save(self, reason: str = "requested") -> None:
        """Ask for a save after the present optimizer step."""
        self.requests.save = self.requests.save or reason

    def _begin(self, train: Any, val: Any) -> None:
        check_loaders(self.model, train, val, self.wants_binary_labels)
        if self.used:
            self.make_optimizer()
        self.used = True
        n_batch = length_of(train)
        if self.check_times.needs_length and n_batch is None:
            raise ValueError(f"val_every={self.check_times.val_every} is a fraction of an epoch, and the training loader has no length.")
        self.state = TrainerState(n_batch=n_batch)
        self.history = History(self.monitor)
        self.requests = Requests()
        self.validates = val is not None
        self.total_steps = None if n_batch is None else self.n_epoch * math.ceil(n_batch / self.accumulate)
        self._loss = MeanLoss(self.device)

    def _end(self) -> None:
        self.history.stop_reason = self.state.stop_reason
        try:
            self.callbacks.end("on_fit_end")
        finally:
            self.own_tables(False)
            self.model.eval()
            self.state.phase = "idle"
        if self.history.best is None and self.state.step:
            measured = f"no check had a finite {self.monitor}" if len(self.history) else "no check was reached"
            logger.warning("%s: the model keeps its last weights", measured if self.validates else "there was no validation data")

    def _epoch(self, train: Any, val: Any) -> None:
        state = self.state
        state.batch, first_step = 0, state.step
        n_step = None if state.n_batch is None else math.ceil(state.n_batch / self.accumulate)
        if isinstance(train, TableLoader):
            train.set_epoch(state.epoch)
        self.callbacks.call("on_epoch_begin")
        checked = -1
        with self._training() as step:
            for batch, last in with_last(train):
                self._batch(step, batch, last)
                if not state.stepped:
                    continue
                if self._check_is_due(state.step - first_step, n_step):
                    self._check(val)
                    checked = state.step
                if self._answer():
                    break
        if state.batch == 0:
            raise ValueError("The training loader yields no batch: there is nothing to train on.")
        self._end_of_epoch(val, checked)

    def _end_of_epoch(self, val: Any, checked: int) -> None:
        if not self.validates:
            self._record({})
        elif checked != self.state.step and self.state.stop_reason is None:
            self._check(val)
        self.callbacks.call("on_epoch_end")
        self.state.epoch += self.state.stop_reason is None
        self._answer()

    @contextmanager
    def _training(self) -> Generator[TrainStep, None, None]:
        """The model in training mode, and its gradients empty before and after."""
        self.model.train()
        self.own_tables(True)
        self.state.phase = "train"
        self.optimizer.zero_grad()
        self._gradients = Gradients(self.model, self.accumulate, self.clip_norm)
        try:
            yield self.train_step()
        finally:
            self.optimizer.zero_grad()

    def _batch(self, step: TrainStep, batch: Any, last: bool) -> None:
        self.callbacks.call("on_batch_begin")
        x, y, weight = parts = split_batch(batch).to(self.device)
        loss = step(x, y, weight)
        size = size_of(parts)
        self._gradients.add(loss, size)
        state = self.state
        state.loss = detached = loss.detach()
        self._loss.add(detached, size)
        state.batch += 1
        state.rows += len(y)  # type: ignore[arg-type]
        state.stepped = self._gradients.complete or last  # an epoch's last batches may be fewer than a group
        if state.stepped:
            self._move()
        self.callbacks.call("on_batch_end")

    def _move(self) -> None:
        """Move the weights by the gradients of a whole group of batches."""
        self._gradients.finish()
        self.callbacks.call("on_backward_end")
        self.used = True
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1

    def _check_is_due(self, step: int, n_step: int | None) -> bool:
        asked, self.requests.validation = self.requests.validation, False
        return self.validates and (asked or self.check_times.due(step, n_step))

    def _check(self, val: Any) -> None:
        state = self.state
        state.phase = "validate"
        self.settle_tables()
        self.callbacks.call("on_validation_begin")
        metrics = self.scoring.metrics
        state.metrics = measure(
            self.model, val, metrics, self.device, self.loss_mode, lambda: self.callbacks.call("on_validation_batch_end")
        )
        state.check += 1
        state.is_best = False
        self._record(state.metrics)
        state.phase = "decide"
        self.callbacks.call("on_validation_end")
        self._save()
        state.phase = "train"

    def _record(self, metrics: dict[str, float]) -> None:
        """Add a record to the history."""
        state = self.state
        facts = {"epoch": state.epoch + 1, "step": state.step, "rows": state.rows, "seconds": round(state.seconds, 3)}
        lr = float(self.optimizer.param_groups[0]["lr"])
        self.history.append({**facts, "loss": self._loss.take(), "lr": lr, **metrics})

    def _answer(self) -> bool:
        """Do what callbacks asked for since the last optimizer step; True when the run is to end."""
        self._save()
        if self.requests.stop is not None:
            self.state.stop_reason = self.requests.stop
        return self.state.stop_reason is not None

    def _save(self) -> None:
        if self.requests.save is not None:
            self.requests.save = None
            phase, self.state.phase = self.state.phase, "save"
            self.callbacks.call("save")
            self.callbacks.call("on_save_end")
            self.state.phase = phase


def with_last(batches: Iterable[Any]) -> Generator[tuple[Any, bool], None, None]:
    """Each batch, and whether it is the last one: known without a length by reading one ahead."""
    walk = iter(batches)
    for batch in walk:
        present = batch
        break
    else:
        return
    for following in walk:
        yield present, False
        present = following
    yield present, True
