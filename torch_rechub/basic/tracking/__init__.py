"""Loggers: where a run's settings and metrics go. Each is a thin adapter over a tracker's own library; JSON lines need none."""

from torch_rechub.basic.tracking.aim import AimLogger
from torch_rechub.basic.tracking.base import BaseLogger
from torch_rechub.basic.tracking.json_lines import JsonLinesLogger
from torch_rechub.basic.tracking.mlflow import MLflowLogger
from torch_rechub.basic.tracking.swanlab import SwanLabLogger
from torch_rechub.basic.tracking.tensorboard import TensorBoardLogger, TensorBoardXLogger
from torch_rechub.basic.tracking.wandb import WandbLogger

__all__ = [
    "AimLogger",
    "BaseLogger",
    "JsonLinesLogger",
    "MLflowLogger",
    "SwanLabLogger",
    "TensorBoardLogger",
    "TensorBoardXLogger",
    "WandbLogger",
]
