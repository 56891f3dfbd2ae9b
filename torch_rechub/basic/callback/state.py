"""The facts of a run, for callbacks to read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from torch import Tensor

from torch_rechub.basic.batch.parts import Parts

__all__ = ["Paused", "Phase", "Requests", "TrainerState"]

Phase: TypeAlias = Literal["idle", "wait", "train", "validate", "decide", "save"]


@dataclass
class TrainerState:
    """Where a run stands. Callbacks read it; only ``is_best`` is theirs to set, when they decide on a check."""

    phase: Phase = "idle"
    epoch: int = 0  # epochs finished; the present one, counted from 0
    in_epoch: bool = False  # whether an epoch was begun and not ended
    batch: int = 0  # batches read in this epoch
    n_batch: int | None = None  # batches of an epoch; None where the loader does not know
    step: int = 0  # optimizer steps
    epoch_step: int = 0  # optimizer steps in this epoch
    stepped: bool = False  # whether the last batch ended in an optimizer step
    rows: int = 0  # rows trained on
    check: int = 0  # checks done
    checked_at: int = -1  # the step of the last check
    check_due: bool = False  # whether a check within the epoch was begun and not ended
    loss: Tensor | None = None  # of the last batch, on the device
    batch_parts: Parts | None = None  # the last batch, on the device
    metrics: dict[str, float] = field(default_factory=dict[str, float])  # of the last check
    predictions: Mapping[str, Tensor] | None = None  # of the last check: y_true, y_pred, ..., where a callback needs them
    is_best: bool = False  # whether the last check is the best so far
    stop_reason: str | None = None
    exception: BaseException | None = None
    at_rest: bool = False  # between two optimizer steps, with no check half done: where a run can be saved to go on
    epoch_random: dict[str, Any] | None = None  # the random states in which the epoch began, for a foreign loader
    read_random: dict[str, Any] | None = None  # and in which the batch that was read ahead was drawn
    started: float = field(default_factory=time.monotonic)

    def begin_epoch(self) -> None:
        """Nothing of the epoch has been read yet."""
        self.in_epoch, self.batch, self.epoch_step = True, 0, 0
        self.epoch_random = self.read_random = None

    @property
    def seconds(self) -> float:
        """Elapsed wall time of the run."""
        return time.monotonic() - self.started


@dataclass
class Requests:
    """What callbacks asked for; the loop reads it between two optimizer steps, in one place."""

    stop: str | None = None
    pause: str | None = None
    then: BaseException | None = None  # what to raise when a paused run has been saved
    save: str | None = None
    validation: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, own.name) for own in fields(self))

    def take(self, wishes: Requests) -> None:
        """Add somebody's wishes; the first one of a kind is kept."""
        for own in fields(self):
            setattr(self, own.name, getattr(self, own.name) or getattr(wishes, own.name))


class Paused(BaseException):
    """Leaves the loop where nothing is half done: while it waits for data, or in a check, which is done again later."""
