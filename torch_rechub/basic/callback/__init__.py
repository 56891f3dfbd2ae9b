"""Callbacks: what happens around the training loop. One class, one file."""

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.checkpoint import Checkpoint
from torch_rechub.basic.callback.early_stopper import EarlyStopper
from torch_rechub.basic.callback.ema import EMA
from torch_rechub.basic.callback.graceful_stop import GracefulStop
from torch_rechub.basic.callback.gradient_clip import GradientClip
from torch_rechub.basic.callback.learning_rate import LearningRate
from torch_rechub.basic.callback.memory_watch import MemoryWatch
from torch_rechub.basic.callback.metric_log import MetricLog
from torch_rechub.basic.callback.non_finite_guard import NonFiniteGuard
from torch_rechub.basic.callback.progress import Progress
from torch_rechub.basic.callback.reinit_embeddings import ReinitEmbeddings
from torch_rechub.basic.callback.report import Report
from torch_rechub.basic.callback.swa import SWA
from torch_rechub.basic.callback.time_limit import TimeLimit

__all__ = [
    "Callback",
    "Checkpoint",
    "EMA",
    "EarlyStopper",
    "GracefulStop",
    "GradientClip",
    "LearningRate",
    "MemoryWatch",
    "MetricLog",
    "NonFiniteGuard",
    "Progress",
    "ReinitEmbeddings",
    "Report",
    "SWA",
    "TimeLimit",
]
