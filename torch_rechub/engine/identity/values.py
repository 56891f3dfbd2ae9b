"""Any setting as a plain value, so that two runs can be compared: equal settings give equal values, in any process."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import math
import os
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_rechub.engine.identity.code import changed_attributes, changed_names, code_digest, code_of_class, is_of_library
from torch_rechub.storage import tensor_digest

__all__ = ["is_plain", "plain_value"]

MAX_DEPTH = 8  #: of nested values; what lies deeper is compared by its class
MAX_LENGTH = 4000  #: of a value as text; a longer one is compared by a digest
SCALARS = (bool, int, float, str, type(None))


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a text, None, or a list, tuple or dict of such."""
    if isinstance(value, Mapping):
        return all(isinstance(key, SCALARS) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_plain, value))
    return isinstance(value, (*SCALARS, np.generic, enum.Enum, torch.dtype, torch.device, os.PathLike))


def plain_value(value: Any, depth: int = 0) -> Any:
    """A setting in the types of JSON.

    Numbers of numpy and torch become Python's. Tensors and arrays become a digest. Functions are their code (see
    :func:`~torch_rechub.engine.identity.code.code_digest`), their defaults, the values in their closure, and the plain values among the
    globals that they name; not what they call. Classes of libraries are their names, and other classes their code as well. Other objects
    are their class with their public attributes.
    """
    if depth > MAX_DEPTH:
        return type(value).__name__
    plain = _plain_value(value, functools.partial(plain_value, depth=depth + 1))
    text = repr(plain)
    return plain if len(text) < MAX_LENGTH else {"digest of its text": hashlib.sha256(text.encode()).hexdigest()[:16]}


def _plain_value(value: Any, inner: Callable[[Any], Any]) -> Any:
    value = _as_python(value)
    if isinstance(value, SCALARS):
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value
    if isinstance(value, torch.Tensor | np.ndarray):
        return {"shape": [*value.shape], "content": tensor_digest({"value": torch.as_tensor(value)})}
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [inner(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((inner(item) for item in value), key=repr)
    return _callable_value(value, inner) if callable(value) and not isinstance(value, nn.Module) else _object_value(value, inner)


def _as_python(value: Any) -> Any:
    """Scalars of numpy and torch as Python's; types, devices, paths and members of an enumeration as text."""
    if isinstance(value, np.generic) or (isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, enum.Enum):
        return value.name
    return str(value) if isinstance(value, torch.dtype | torch.device | os.PathLike) else value


def _callable_value(value: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(value, functools.partial):
        return {"partial": inner(value.func), "arguments": inner(value.args), "keywords": inner(value.keywords)}
    if isinstance(value, types.MethodType):
        return {"method": inner(value.__func__), "of": inner(value.__self__)}
    if inspect.isclass(value):
        functions = {} if is_of_library(value) else code_of_class(value)
        return {"class": value.__name__, "code": _codes(functions)} if functions else value.__name__
    if not isinstance(value, types.FunctionType):
        return getattr(value, "__name__", None) or _object_value(value, inner)
    if is_of_library(value):
        return value.__name__
    return _function_value(value, inner)


def _function_value(function: types.FunctionType, inner: Callable[[Any], Any]) -> dict[str, Any]:
    code, state = function.__code__, {"__class__", *changed_names(function)}  # super() refers to the class, whose code is compared itself
    outer = function.__globals__
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    parts: dict[str, Any] = {
        "closure": {name: _cell(cell) for name, cell in cells if name not in state},
        "defaults": [*(function.__defaults__ or ())],
        "keyword defaults": function.__kwdefaults__ or {},
        "globals": {name: outer[name] for name in code.co_names if name not in state and is_plain(outer.get(name, print))},
    }
    return {"function": function.__name__, "code": code_digest(function), **{name: inner(part) for name, part in parts.items() if part}}


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _codes(functions: Mapping[str, types.FunctionType]) -> dict[str, str]:
    return {name: code_digest(function) for name, function in sorted(functions.items())}


def _object_value(value: Any, inner: Callable[[Any], Any]) -> Any:
    """An object by its class and its plain public attributes; a dataclass by its fields; a module by what its repr shows, and its parts."""
    state = {"training", *changed_attributes(type(value))}
    attributes = {name: item for name, item in getattr(value, "__dict__", {}).items() if not name.startswith("_") and name not in state}
    if dataclasses.is_dataclass(value):
        attributes = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    else:
        attributes = {name: item for name, item in attributes.items() if is_plain(item) or callable(item)}
    described: dict[str, Any] = {"class": inner(type(value)), **{name: inner(item) for name, item in attributes.items()}}
    if isinstance(value, nn.Module):
        described |= {"shown": without_addresses(value.extra_repr()), "tensors": tensor_digest(dict(value.named_buffers()))}
        described |= {name: inner(part) for name, part in value.named_children()}
    return described


def without_addresses(text: str) -> str:
    """A repr without addresses in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)
