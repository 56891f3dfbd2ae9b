"""Features, layers, losses, metrics and callbacks; each subpackage is imported on first access."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch_rechub.basic import activation, callback, features, initializers, layers, loss_func, metric, tracking

__all__ = ["activation", "callback", "features", "initializers", "layers", "loss_func", "metric", "tracking"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
