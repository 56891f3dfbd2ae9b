"""torch_rechub: train recommender models in PyTorch, keep the best weights, resume interrupted runs.

Subpackages are imported on first access: ``import torch_rechub; torch_rechub.trainers.CTRTrainer`` works as in the existing package.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch_rechub import basic, data, datasets, models, optim, testing, trainers, utils

__all__ = ["__version__", "basic", "data", "datasets", "models", "optim", "testing", "trainers", "utils"]

__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
