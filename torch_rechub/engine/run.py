"""One fit in progress: epochs of batches, with the fixed phases train, validate, decide, save."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from torch_rechub.basic.batch.parts import split_batch
from torch_rechub.basic.callback.state import Paused, Requests
from torch_rechub.engine.batches import epoch_batches
from torch_rechub.engine.evaluation import measure
from torch_rechub.engine.mean_loss import size_of
from torch_rechub.engine.resume import own_part
from torch_rechub.engine.shares import sampler_of, stands_in

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Run"]


class Run:
    """The loop. It keeps nothing of its own between two optimizer steps: where the run stands is in ``trainer.state``.

    Args:
        trainer: whose model is trained.
        train: the training loader.
        val: the validation loader, or None.
    """

    def __init__(self, trainer: Trainer, train: Iterable[Any], val: Iterable[Any] | None = None) -> None:
        self.trainer = trainer
        self.state = trainer.state
        self.train = train
        self.val = val

    def go(self) -> None:
        """Train until the last epoch is done or somebody asked to stop."""
        state = self.state
        while state.in_epoch or (state.epoch < self.trainer.n_epoch and state.stop_reason is None):
            self.epoch()
            if self.trainer.requests.pause is not None:
                break

    def epoch(self) -> None:
        """One epoch, or what is left of one that was broken off."""
        state = self.state
        if not state.in_epoch:
            state.begin_epoch()
            with self.trainer.ranks.same_random(self.trainer.device):
                self.trainer.callbacks.call("on_epoch_begin")
        if state.stop_reason is None:
            self.train_batches()
        if state.batch == 0:
            used_up = " An iterator is used up after one epoch: give a list or a loader." if state.epoch else ""
            raise ValueError(f"The training loader yields no batch: there is nothing to train on.{used_up}")
        if self.trainer.requests.pause is None:
            self.end_epoch()

    def train_batches(self) -> None:
        """The batches of the epoch that have not been read, and the checks among them."""
        state, sampler = self.state, sampler_of(self.train)
        if sampler is not None:
            sampler.set_epoch(state.epoch)
        with self.training() as step:
            if state.check_due:  # the run was paused within this check
                self.check(within=True)
                if self.answer():
                    return
            for batch, last in epoch_batches(self.train, state):
                self.batch(step, batch, last)
                if not state.stepped:
                    continue
                self.agree()
                if self.check_is_due():
                    self.check(within=True)
                if self.answer():
                    return

    def end_epoch(self) -> None:
        """The check that every epoch ends with, unless one was just done or the run was stopped within the epoch."""
        state = self.state
        if self.val is None:
            self.record({})
        elif state.checked_at != state.step and state.stop_reason is None:
            self.check()
        self.trainer.callbacks.call("on_epoch_end")
        state.epoch += state.stop_reason is None
        state.in_epoch = False
        self.agree()
        self.answer()

    @contextmanager
    def training(self) -> Generator[nn.Module, None, None]:
        """The model in training mode, its tables owned by the optimizer, and no gradients left before or after."""
        trainer = self.trainer
        trainer.model.train()
        trainer.own_tables(True)
        trainer.optimizer.zero_grad()
        step = trainer.train_step()
        self.gradients = trainer.gradients(step)
        try:
            yield step
        finally:
            trainer.optimizer.zero_grad()

    def batch(self, step: nn.Module, batch: Any, last: bool) -> None:
        """Forward and backward; the weights move when a group of batches is complete."""
        state, trainer = self.state, self.trainer
        trainer.callbacks.call("on_batch_begin")
        self.gradients.begin(last)
        x, y, weight = state.batch_parts = parts = split_batch(batch).to(trainer.device)
        loss = step(x, y, weight)
        counts = not stands_in(self.train, last)
        n_row = len(y) * counts  # type: ignore[arg-type]
        state.loss, size = self.gradients.add(loss, size_of(parts) if counts else 0, n_row)
        trainer.mean_loss.add(state.loss, size)
        state.batch += 1
        state.rows += n_row
        state.stepped = self.gradients.complete or last  # an epoch's last batches may be fewer than a group
        if state.stepped:
            self.move()
        trainer.callbacks.call("on_batch_end")

    def move(self) -> None:
        """Move the weights by the gradients of a whole group of batches."""
        self.state.rows += self.gradients.finish()
        self.trainer.callbacks.call("on_backward_end")
        self.trainer.used = True
        self.trainer.optimizer.step()
        self.trainer.optimizer.zero_grad()
        self.state.step += 1
        self.state.epoch_step += 1

    def check_is_due(self) -> bool:
        """Whether somebody asked for a check, or its time has come."""
        state, requests = self.state, self.trainer.requests
        asked, requests.validation = requests.validation, False
        n_step = None if state.n_batch is None else math.ceil(state.n_batch / self.trainer.accumulate)
        return self.val is not None and (asked or self.trainer.check_times.due(state.epoch_step, n_step))

    def check(self, within: bool = False) -> None:
        """Validate, decide, save what is best; within an epoch or at its end."""
        state, trainer = self.state, self.trainer
        state.phase, state.check_due = "validate", within
        trainer.settle_tables()
        trainer.callbacks.call("on_validation_begin")
        assert self.val is not None
        rows = trainer.callbacks.wanted_rows()
        watching = () if rows is None else (rows,)
        hook, metrics = self.after_validation_batch, trainer.scoring.metrics
        state.metrics = measure(trainer.model, self.val, metrics, trainer.device, trainer.loss_mode, hook, watching, trainer.ranks)
        state.predictions = None if rows is None else rows.state_dict()
        state.check += 1
        state.checked_at = state.step
        state.is_best, state.check_due = False, False
        self.record(state.metrics)
        state.phase = "decide"
        trainer.callbacks.call("on_validation_end")
        self.agree()
        self.save()
        trainer.callbacks.call("on_check_end")
        self.agree()
        state.phase = "train"

    def after_validation_batch(self) -> None:
        """Between two batches of a check: where it can be left when the run is to pause."""
        self.trainer.callbacks.call("on_validation_batch_end")
        if self.trainer.requests.pause is not None and self.trainer.ranks.alone:  # several processes end a check together
            raise Paused

    def record(self, metrics: dict[str, float]) -> None:
        """Add a record to the history."""
        state = self.state
        facts = {"epoch": state.epoch + 1, "step": state.step, "rows": state.rows, "seconds": round(state.seconds, 3)}
        lr = float(self.trainer.optimizer.param_groups[0]["lr"])
        self.trainer.history.append({**facts, "loss": self.trainer.mean_loss.take(), "lr": lr, **metrics})

    def agree(self) -> None:
        """Let what any process was asked for be asked of all: from here to the next time, their loops do the same."""
        trainer = self.trainer
        if trainer.ranks.alone:
            return
        wishes, trainer.wishes = trainer.wishes, Requests()
        if any(map(any, trainer.ranks.numbers([bool(wishes)]))):
            for each in trainer.ranks.gather(wishes):
                trainer.requests.take(each)

    def answer(self) -> bool:
        """Do what callbacks asked for since the last optimizer step; True when the loop is to be left."""
        requests = self.trainer.requests
        if requests.stop is not None:
            self.state.stop_reason = requests.stop
        self.rest()
        return self.state.stop_reason is not None or requests.pause is not None

    def rest(self) -> None:
        """Between two steps, with no check half done: the run can be saved here to go on from."""
        requests = self.trainer.requests
        requests.save = requests.save or requests.pause
        self.state.at_rest = True
        self.save()
        self.state.at_rest = False

    def save(self) -> None:
        """Let callbacks write, when one of them asked for it."""
        state, trainer = self.state, self.trainer
        if trainer.requests.save is not None:
            trainer.requests.save = None
            if state.at_rest:
                trainer.other_ranks = trainer.ranks.gather(own_part(trainer))[1:]
            phase, state.phase = state.phase, "save"
            trainer.callbacks.call("save")
            trainer.callbacks.call("on_save_end")
            state.phase = phase
