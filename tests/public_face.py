"""The public classes of the package, for tests that hold for each of them."""

import importlib
import inspect

PACKAGES = [
    *("basic.batch", "basic.callback", "basic.callback.early_stopping", "basic.callback.schedules", "basic.features", "basic.initializers"),
    *("basic.layers", "basic.loss_func", "basic.metric", "basic.tracking", "data", "datasets", "engine", "models.ranking", "optim"),
    *("report", "trainers"),
]


def public_classes(packages=PACKAGES):
    """Package and class, for every class that ``__all__`` of a package lists and that is no protocol."""
    for package in packages:
        module = importlib.import_module(f"torch_rechub.{package}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and not getattr(value, "_is_protocol", False):
                yield package, value
