"""The facts of a run, for callbacks to read, and what callbacks request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from torch import Tensor

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.history import History

__all__ = ["Phase", "Requests", "TrainerState"]

Phase: TypeAlias = Literal["idle", "wait", "train", "validate", "decide", "save"]


@named_arguments
@dataclass
class TrainerState:
    """The position of a run and what its last batch and validation gave. Callbacks read it; the training loop writes it."""

    history: History = field(default_factory=History, repr=False)
    phase: Phase = "idle"
    epoch: int = 0  # epochs finished; the present one, counted from 0
    in_epoch: bool = False  # whether an epoch has begun and not ended
    batch: int = 0  # batches trained on in this epoch
    n_batch: int | None = None  # batches of an epoch; None where the loader does not know
    n_validation_batch: int | None = None  # batches of a validation; None where the loader does not know
    step: int = 0  # optimizer steps
    epoch_step: int = 0  # optimizer steps in this epoch
    epoch_done: bool = False  # whether all batches of this epoch have been trained on
    stepped: bool = False  # whether the last batch ended in an optimizer step
    rows: int = 0  # rows trained on
    n_validation: int = 0  # validations done
    validated_at: int = -1  # the step of the last validation
    validation_pending: bool = False  # whether a validation within the epoch has begun and not ended
    loss: Tensor | None = None  # of the present optimizer step so far, on the device
    current_batch: Any = field(default=None, repr=False)  # on the device; known from on_batch_begin to on_batch_end
    metrics: dict[str, float] = field(default_factory=dict[str, float])  # of the last validation
    predictions: Mapping[str, Tensor] | None = field(default=None, repr=False)  # of the last validation, where a callback needs them
    accepted: list[str] = field(default_factory=list[str])  # differences from the saved run that the user accepted
    exception: BaseException | None = None  # what ended the run, until fit returns
    failure: str | None = None  # the same in words, kept after fit
    paused: bool = False  # whether the run ended where it can be resumed
    started: float = field(default_factory=time.monotonic)

    def begin_epoch(self) -> None:
        """Start a new epoch at its first batch."""
        self.in_epoch, self.batch, self.epoch_step, self.epoch_done = True, 0, 0, False

    def begin_batch(self, batch: Any) -> None:
        """The batch that is trained on, on the device; None where only other processes have one."""
        self.current_batch = batch

    def end_batch(self, stepped: bool) -> None:
        """Count a batch; ``stepped`` tells whether an optimizer step ended with it."""
        self.batch += 1
        self.stepped = stepped

    def end_step(self) -> None:
        """Count an optimizer step."""
        self.step += 1
        self.epoch_step += 1

    def begin_validation(self, within_epoch: bool) -> None:
        """Begin to measure; one within an epoch is repeated where the run is paused before it is measured."""
        self.phase, self.validation_pending = "validate", within_epoch

    def end_measuring(self, metrics: dict[str, float], predictions: Mapping[str, Tensor] | None) -> None:
        """Count a validation and keep what it measured."""
        self.metrics, self.predictions = metrics, predictions
        self.n_validation += 1
        self.validated_at, self.validation_pending = self.step, False

    def end_epoch(self) -> None:
        """End the epoch, which is finished unless training stopped within it or after it."""
        self.epoch += self.stop_reason is None
        self.in_epoch = False

    def resume(self, position: Mapping[str, Any], seconds: float) -> None:
        """Continue from a saved position, between two optimizer steps, after ``seconds`` of training."""
        for name, value in position.items():
            setattr(self, name, value)
        self.started -= seconds
        self.stepped = True

    def end(self) -> None:
        """End the run: keep no batch, predictions or exception."""
        self.phase, self.loss, self.current_batch, self.predictions, self.exception = "idle", None, None, None, None

    @property
    def is_best(self) -> bool:
        """Whether the last validation is the best so far; known when ``on_new_best`` and ``on_validation_end`` are called."""
        return bool(len(self.history) and self.history[-1].get("is_best"))

    @property
    def stop_reason(self) -> str | None:
        """Why training stopped, or None."""
        return self.history.stop_reason

    @property
    def seconds(self) -> float:
        """Elapsed wall time of the run, in seconds."""
        return time.monotonic() - self.started


@dataclass
class Requests:
    """What callbacks requested since the last optimizer step; the loop reads it in one place."""

    stop: str | None = None
    pause: str | None = None
    then: BaseException | None = None  # what fit raises after a paused run has been saved
    save: str | None = None
    validation: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def merge(self, other: Requests) -> None:
        """Add the requests of another process; the first one of each kind is kept."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) or getattr(other, each.name))
