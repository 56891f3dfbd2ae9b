"""Use an object of the user's once more than the run does, and leave it as it was."""

from __future__ import annotations

import functools
import random
import types
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_rechub.data.random_state import get_random_state, set_random_state

__all__ = ["unchanged"]

DEPTH = 4  #: how deep attributes, closures and short containers are followed
SHORT = 64  #: a container with more items is restored, and its items are not followed
LONG = 1 << 24  #: a container or array with more items is not restored: it holds data, and a copy would take as much memory
_NOT_FOLLOWED = (type, types.ModuleType, types.BuiltinFunctionType, str, bytes, int, float, type(None))


@contextmanager
def unchanged(*used: Any) -> Generator[None, None, None]:
    """After the block, all random states and what the objects hold are what they were before.

    These are restored: the random states of torch, numpy and Python; the attributes of the objects and of what they hold; variables of a
    function's closure, and the globals that its code names; the content of lists, dicts, sets, deques, and of one-dimensional arrays and
    tensors of integers; the states of random generators. Not restored are models, and the content of what is longer than ``LONG``. The
    position of an iterator, files and whatever lies outside of the process cannot be restored.

    Example:
        >>> calls = []
        >>> def count(value):
        ...     calls.append(value)
        >>> with unchanged(count):
        ...     count(1)
        >>> calls
        []
    """
    undo: list[Callable[[], None]] = []
    seen: dict[int, Any] = {}
    for each in used:
        _remember(each, DEPTH, undo, seen)
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    state = get_random_state(cuda=cuda)
    try:
        yield
    finally:
        for restore in reversed(undo):
            restore()
        set_random_state(state)


def _remember(value: Any, depth: int, undo: list[Callable[[], None]], seen: dict[int, Any]) -> None:
    """Note how ``value`` and what it holds are restored."""
    if depth == 0 or id(value) in seen or isinstance(value, _NOT_FOLLOWED):
        return
    seen[id(value)] = value
    restore = _restoring(value)
    if restore is not None:
        undo.append(restore)
    for part in _parts(value):
        _remember(part, depth - 1, undo, seen)


def _restoring(value: Any) -> Callable[[], None] | None:
    """What restores one object, without what it refers to; None where there is nothing to restore."""
    generator = _restoring_generator(value)
    if generator is not None:
        return generator
    if isinstance(value, list | deque | set | dict):
        return None if len(value) > LONG else functools.partial(_refill, value, _content(value))
    if isinstance(value, Tensor | np.ndarray):
        return _restoring_integers(value)
    if isinstance(value, types.FunctionType):
        names = [name for name in value.__code__.co_names if name in value.__globals__]
        return functools.partial(_rebind, value, [*_cells(value)], {name: value.__globals__[name] for name in names})
    attributes = _attributes(value)
    return None if attributes is None else functools.partial(_reset_attributes, attributes, dict(attributes))


def _restoring_generator(value: Any) -> Callable[[], None] | None:
    """The state of a random generator."""
    if isinstance(value, torch.Generator | np.random.RandomState):
        return functools.partial(value.set_state, value.get_state())  # type: ignore[arg-type]
    if isinstance(value, random.Random):
        return functools.partial(value.setstate, value.getstate())
    if isinstance(value, np.random.Generator):
        return functools.partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    return None


def _restoring_integers(value: Any) -> Callable[[], None] | None:
    """An order of rows that is shuffled in place."""
    if (
        value.ndim != 1
        or len(value) > LONG
        or (value.dtype.is_floating_point if isinstance(value, Tensor) else value.dtype.kind not in "iu")
    ):
        return None
    before: Any = value.clone() if isinstance(value, Tensor) else value.copy()

    def restore() -> None:
        if not (torch.equal(value, before) if isinstance(value, Tensor) else np.array_equal(value, before)):
            value[:] = before

    return restore


def _parts(value: Any) -> list[Any]:
    """What an object refers to and may change."""
    if isinstance(value, types.FunctionType):
        named = [value.__globals__.get(name) for name in value.__code__.co_names]
        return [*(content for _, content in _cells(value)), *named, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, dict | list | tuple | set | deque):
        return list(value.values() if isinstance(value, dict) else value) if len(value) <= SHORT else []
    attributes = _attributes(value)
    if attributes is None:
        return []
    methods = [getattr(type(value), name, None) for name in ("__call__", "__iter__", "__getitem__")]
    return [*attributes.values(), *(method for method in methods if isinstance(method, types.FunctionType))]


def _attributes(value: Any) -> dict[str, Any] | None:
    """The attributes of an object of a plain class, without a call of its code; None of a module, an array, and of what has none."""
    if isinstance(value, nn.Module | Tensor | np.ndarray):
        return None
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except (AttributeError, TypeError):
        return None
    return attributes if isinstance(attributes, dict) else None


def _cells(function: types.FunctionType) -> list[tuple[Any, Any]]:
    """The variables of a closure with their values; one that is not assigned yet is left out."""
    filled: list[tuple[Any, Any]] = []
    for cell in function.__closure__ or ():
        try:
            filled.append((cell, cell.cell_contents))
        except ValueError:
            continue
    return filled


def _rebind(function: types.FunctionType, cells: list[tuple[Any, Any]], names: dict[str, Any]) -> None:
    for cell, content in cells:
        cell.cell_contents = content
    for name, value in names.items():
        function.__globals__[name] = value


def _content(container: Any) -> Any:
    """A copy of a container as one of the plain classes; a subclass may copy in its own way."""
    kind = next(kind for kind in (list, deque, set, dict) if isinstance(container, kind))
    return kind(container)


def _refill(container: Any, before: Any) -> None:
    same = len(container) == len(before) and all(a is b for a, b in zip(container, before, strict=True))
    if same and (not isinstance(container, dict) or all(container[key] is value for key, value in before.items())):
        return
    container.clear()
    (container.extend if isinstance(container, list | deque) else container.update)(before)


def _reset_attributes(attributes: dict[str, Any], before: dict[str, Any]) -> None:
    for name in [name for name in attributes if name not in before]:
        del attributes[name]
    for name, value in before.items():
        if attributes.get(name, attributes) is not value:
            attributes[name] = value
