"""The parts of a decision to stop, one idea a file; ``EarlyStopper`` puts them together."""

from torch_rechub.basic.callback.early_stopping.check import Check
from torch_rechub.basic.callback.early_stopping.limits import Limits
from torch_rechub.basic.callback.early_stopping.meaningful import Meaningful
from torch_rechub.basic.callback.early_stopping.one_epoch import Fall, fall_of, one_epoch_overfitting
from torch_rechub.basic.callback.early_stopping.patience import Patience, Place
from torch_rechub.basic.callback.early_stopping.reason import StopReason
from torch_rechub.basic.callback.early_stopping.significance import Significance
from torch_rechub.basic.callback.early_stopping.together import check_together
from torch_rechub.basic.callback.early_stopping.weighted import WeightedMonitor

__all__ = [
    "Check",
    "Fall",
    "Limits",
    "Meaningful",
    "Patience",
    "Place",
    "Significance",
    "StopReason",
    "WeightedMonitor",
    "check_together",
    "fall_of",
    "one_epoch_overfitting",
]
