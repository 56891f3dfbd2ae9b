"""What a run reads of its trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from torch_rechub.basic.metric import Metric
from torch_rechub.data.protocol import Loader
from torch_rechub.engine.callback_list import CallbackList
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.objective import Objective
from torch_rechub.engine.validation_times import ValidationTimes

__all__ = ["RunContext"]


class RunContext(Protocol):
    """The settings and parts of a trainer that belong to all of its runs."""

    n_epoch: int
    accumulate: int
    clip_norm: float | None
    precision: str
    device: torch.device
    ranks: Ranks
    validation_times: ValidationTimes

    @property
    def objective(self) -> Objective:
        """What is optimized."""
        ...

    @property
    def callbacks(self) -> CallbackList:
        """All callbacks."""
        ...

    @property
    def monitor(self) -> str:
        """The name of the metric that decides."""
        ...

    @property
    def writes_saves(self) -> bool:
        """Whether saves to resume from are written in this run."""
        ...

    def forward_module(self) -> nn.Module:
        """The objective, or its compiled form."""
        ...

    def score(self, loader: Loader, rows: Metric | None, after_batch: Callable[[], None]) -> dict[str, float]:
        """Measure the model on the validation data."""
        ...

    def settle_tables(self) -> None:
        """Bring all rows of all embedding tables up to date."""
        ...

    def scale_rate(self, factor: float) -> None:
        """Multiply the learning rate, and all rates that the schedule computes from, by ``factor``."""
        ...
