"""The facts of a run, for callbacks to read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

__all__ = ["Phase", "Requests", "TrainerState"]

Phase: TypeAlias = Literal["idle", "train", "validate", "decide", "save"]


@dataclass
class TrainerState:
    """Where a run stands. Callbacks read it; only ``is_best`` is theirs to set, when they decide on a check."""

    phase: Phase = "idle"
    epoch: int = 0  # epochs finished; the present one, counted from 0
    batch: int = 0  # batches read in this epoch
    n_batch: int | None = None  # batches of an epoch; None where the loader does not know
    step: int = 0  # optimizer steps
    stepped: bool = False  # whether the last batch ended in an optimizer step
    rows: int = 0  # rows trained on
    check: int = 0  # checks done
    loss: Tensor | None = None  # of the last batch, on the device
    metrics: dict[str, float] = field(default_factory=dict[str, float])  # of the last check
    is_best: bool = False  # whether the last check is the best so far
    stop_reason: str | None = None
    exception: BaseException | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Elapsed wall time of the run."""
        return time.monotonic() - self.started


@dataclass
class Requests:
    """What callbacks asked for; the loop reads it between two optimizer steps, in one place."""

    stop: str | None = None
    save: str | None = None
    validation: bool = False
