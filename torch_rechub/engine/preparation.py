"""Everything that is checked before a run begins: its data, its metrics, its times, and the machine."""

from __future__ import annotations

from typing import Any

from torch_rechub.data.protocol import Loader
from torch_rechub.engine.early_checks import check_validation
from torch_rechub.engine.inputs import validate_loaders
from torch_rechub.engine.threads import warn_of_busy_cores

__all__ = ["check_inputs"]


def check_inputs(trainer: Any, train: Loader, val: Loader | None) -> None:
    """Check what can be known before the first step.

    Raises:
        ValueError, TypeError: naming what is wrong and what to do.
    """
    validate_loaders(trainer.objective, train, val)
    check_validation(trainer, val)
    trainer.callbacks.check_settings(validates=val is not None)
    warn_of_busy_cores(trainer.device)
    if trainer.validation_times.needs_length and train.n_batch is None:
        every = trainer.validation_times.val_every
        raise ValueError(f"val_every={every} is a fraction of an epoch, and the training loader has no length.")
