"""An old import path: the parts of early stopping are in :mod:`torch_rechub.basic.callback.early_stopping`."""

from torch_rechub.basic.callback.early_stopping import Decision, Position, StopReason, one_epoch_overfitting

__all__ = ["Decision", "Position", "StopReason", "one_epoch_overfitting"]
