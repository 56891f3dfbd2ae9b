"""The parts of a decision to stop, one idea per file; ``EarlyStopper`` combines them."""

from torch_rechub.basic.callback.early_stopping.decision import Decision
from torch_rechub.basic.callback.early_stopping.limits import Limits
from torch_rechub.basic.callback.early_stopping.meaningful import Meaningful
from torch_rechub.basic.callback.early_stopping.one_epoch import Fall, one_epoch_overfitting
from torch_rechub.basic.callback.early_stopping.patience import Patience, Position
from torch_rechub.basic.callback.early_stopping.reason import StopReason
from torch_rechub.basic.callback.early_stopping.significance import Significance
from torch_rechub.basic.callback.early_stopping.together import check_together
from torch_rechub.basic.callback.early_stopping.weighted import WeightedMonitor

__all__ = [
    "Decision",
    "Fall",
    "Limits",
    "Meaningful",
    "Patience",
    "Position",
    "Significance",
    "StopReason",
    "WeightedMonitor",
    "check_together",
    "one_epoch_overfitting",
]
