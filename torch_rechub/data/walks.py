"""Whether an iterable of batches can be walked more than once, without walking it."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from typing import Any

from torch_rechub.data.unchanged import unchanged

__all__ = ["is_plain_iterator", "walks_once", "why_empty"]

#: Where the iterators of Python and of its libraries come from: none of them starts again.
_PLAIN_MODULES = {"builtins", "itertools", "_io"}


def walks_once(loader: Any) -> bool:
    """Whether it is certain that a second walk of ``loader`` gives no batch, or only the rest.

    That is so for generators and the iterators of Python; for a loader, or a part of a ``DataLoader`` (its data set where that is
    iterable, its samplers), that returns the same iterator at each ``iter()``, or whose ``__iter__`` walks an iterator that the object
    stores. An iterator of a user's class may start again in its own way: it is trusted if it has a length or its ``__iter__`` does more
    than to return the object. Nothing is read.

    Example:
        >>> walks_once(iter([1, 2])), walks_once(n for n in [1, 2]), walks_once([1, 2])
        (True, True, False)
    """
    if _is_once(loader):
        return True
    dataset, batch_sampler = getattr(loader, "dataset", None), getattr(loader, "batch_sampler", None)
    parts = [getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]
    parts += [] if dataset is None or (hasattr(type(dataset), "__getitem__") and not _is_stream(dataset)) else [dataset]
    return any(_is_once(part) for part in parts if part is not None)


def why_empty(loader: Any) -> str:
    """A sentence for a loader that yields no batch: that a generator was used up before; empty where nothing is known."""
    used_up = inspect.isgenerator(loader) and inspect.getgeneratorstate(loader) == inspect.GEN_CLOSED
    return " The generator has been walked before, and is used up." if used_up else ""


def _is_stream(dataset: Any) -> bool:
    """Whether torch iterates over a data set instead of reading its rows by number."""
    return any(kind.__name__ == "IterableDataset" for kind in type(dataset).__mro__)


def _is_once(value: Any) -> bool:
    if isinstance(value, Iterator):
        return is_plain_iterator(value) or (not hasattr(value, "__len__") and _returns_itself(value))
    iterate = getattr(getattr(type(value), "__iter__", None), "__code__", None)
    if iterate is None:  # not written in Python: a list, an array, a set
        return False
    if _walks_stored_iterator(value, iterate):
        return True
    if iterate.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR) or type(value).__module__.startswith("torch."):
        return False  # a new generator each time; the iterators of a DataLoader are costly
    with unchanged(value):
        first, second = iter(value), iter(value)
        return first is second and _is_once(first)


def is_plain_iterator(value: Any) -> bool:
    """Whether a value is a generator, an iterator of Python such as ``zip``, or the iterator of a ``DataLoader``."""
    if not isinstance(value, Iterator):
        return False
    return inspect.isgenerator(value) or type(value).__module__ in _PLAIN_MODULES or "DataLoaderIter" in type(value).__name__


def _returns_itself(value: Any) -> bool:
    """Whether ``__iter__`` is ``return self``: it reads and sets no attribute and calls nothing."""
    code = getattr(type(value).__iter__, "__code__", None)
    return code is not None and not code.co_names and len(code.co_varnames) == 1


def _walks_stored_iterator(value: Any, code: Any) -> bool:
    """Whether an object's ``__iter__`` reads an attribute that holds a plain iterator, and does not set it anew."""
    attributes: dict[str, Any] = getattr(value, "__dict__", {})
    stored = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname == "STORE_ATTR"}
    return any(name in attributes and name not in stored and is_plain_iterator(attributes[name]) for name in code.co_names)
