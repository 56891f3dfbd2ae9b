"""Anything that yields batches -> a loader that the training loop can use."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader

from torch_rechub.arguments import named_arguments
from torch_rechub.data.foreign import ForeignLoader
from torch_rechub.data.frames import is_frame
from torch_rechub.data.loader import TableLoader
from torch_rechub.data.protocol import Loader
from torch_rechub.data.table import Table
from torch_rechub.data.table_source import TableSource

__all__ = ["as_loader"]


@named_arguments
def as_loader(loader: Any, name: str = "training") -> Loader:
    """A :class:`Loader` around what the user gave: the only place that asks of which class it is.

    Args:
        loader: a :class:`TableLoader`, a ``DataLoader``, a list of batches, an ``IterableDataset`` of batches, any other iterable of
            batches, or a class with the members of :class:`Loader`, which is returned as it is.
        name: how an error names it: "training" or "validation".

    Raises:
        TypeError: when it cannot be iterated, or is a column, a table or a single batch.

    Example:
        >>> import torch
        >>> batches = [({"user": torch.tensor([1, 2])}, torch.tensor([0.0, 1.0]))]
        >>> as_loader(batches).n_batch
        1
    """
    if isinstance(loader, TableLoader):
        return TableSource(loader)
    if isinstance(loader, Loader):
        return loader
    if isinstance(loader, list | tuple) and any(isinstance(part, DataLoader) for part in loader):
        given = f"a {type(loader).__name__} of {len(loader)}"
        raise TypeError(f"The {name} data must be one loader; got {given}. Unpack it: train_dl, val_dl, test_dl = loaders.")
    one_batch = isinstance(loader, list | tuple) and len(loader) == 2 and _is_features(loader[0]) and not _is_features(loader[1])
    remedy = "DataGenerator(x, y).generate_dataloader(...) makes loaders of columns."
    if one_batch or not hasattr(loader, "__iter__") or isinstance(loader, Mapping | Tensor | np.ndarray | Table) or is_frame(loader):
        raise TypeError(f"The {name} data must be a loader that yields (x, y); got {type(loader).__name__}. {remedy}")
    if isinstance(loader, str | bytes | PathLike):
        raise TypeError(f"The {name} data must be a loader that yields (x, y); got the text {loader!r}. Read the file first: {remedy}")
    return ForeignLoader(loader)


def _is_features(value: Any) -> bool:
    return isinstance(value, Mapping)
