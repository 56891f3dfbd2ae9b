"""Loggers, which record the settings and metrics of a run. Each adapts the library of one tracker; ``JsonLinesLogger`` needs no library."""

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
