"""Callbacks: what happens around the training loop. One class, one file."""

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.checkpoint import Checkpoint
from torch_rechub.basic.callback.early_stopper import EarlyStopper
from torch_rechub.basic.callback.graceful_stop import GracefulStop
from torch_rechub.basic.callback.learning_rate import LearningRate
from torch_rechub.basic.callback.metric_log import MetricLog
from torch_rechub.basic.callback.progress import Progress

__all__ = ["Callback", "Checkpoint", "EarlyStopper", "GracefulStop", "LearningRate", "MetricLog", "Progress"]
