"""Reading of the library's own files: a regular file of limited size, whose content has the expected shape."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

__all__ = [
    "FINITE",
    "MAX_DEPTH",
    "MAX_JSON",
    "NATURAL",
    "REAL",
    "Rule",
    "TENSORS",
    "UnexpectedContentError",
    "check_depth",
    "check_shape",
    "is_regular",
    "read_json",
    "regular_size",
]

MAX_DEPTH = 100  #: levels of nested lists and dicts; files of ours have about ten
MAX_JSON = 1 << 30  #: bytes

Shape: TypeAlias = Any  #: see check_shape


@dataclass(frozen=True)
class Rule:
    """What a plain value must be.

    Args:
        words: complete the sentence "it must be ...".
        holds: whether a value is so.
    """

    words: str
    holds: Callable[[Any], bool]


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


NATURAL = Rule("a whole number >= 0", lambda value: _is_real(value) and isinstance(value, int) and value >= 0)
REAL = Rule("a number", lambda value: _is_real(value) or (isinstance(value, Tensor) and value.numel() == 1))
FINITE = Rule("a finite number", lambda value: _is_real(value) and (isinstance(value, int) or math.isfinite(value)))


def _is_dict_of(value: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) and holds(item) for key, item in value.items())


TENSORS = Rule("a dict of tensors", lambda value: _is_dict_of(value, lambda item: isinstance(item, Tensor)))


class UnexpectedContentError(ValueError):
    """A file is not one that this library writes; the message says what was expected and what it holds."""


def regular_size(path: Path) -> int:
    """The size of a regular file.

    Raises:
        OSError: when it cannot be examined; the reason is in ``strerror`` where it is a link, a folder, a device or a pipe.
    """
    found = path.lstat()
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "a device")
    raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def is_regular(path: Path) -> bool:
    """Whether there is a regular file; a link to one is none."""
    try:
        return regular_size(path) >= 0
    except OSError:
        return False


def read_json(path: Path, shape: Shape, max_bytes: int = MAX_JSON) -> Any:
    """The content of one of our JSON files, once it is known to have the expected shape.

    Args:
        path: the file.
        shape: see :func:`check_shape`.
        max_bytes: a larger file is refused unread.

    Raises:
        OSError: when the file is missing, no regular file, or cannot be read.
        UnexpectedContentError: when it holds something else.
    """
    if regular_size(path) > max_bytes:
        raise UnexpectedContentError(f"it has more than {max_bytes} bytes")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        content = file.read(max_bytes + 1)
    try:
        value = json.loads(content.decode())
    except RecursionError as error:
        raise UnexpectedContentError(f"it is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # of the decoding or of the JSON
        raise UnexpectedContentError(f"it is no JSON: {error}") from error
    check_depth(value)
    check_shape(value, shape)
    return value


def check_depth(value: Any) -> None:
    """Refuse a tree that is nested deeper than ``MAX_DEPTH``, without recursion.

    Raises:
        UnexpectedContentError: when it is.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                inner.extend(part.values())
            elif isinstance(part, list):
                inner.extend(part)
        level = [part for part in inner if isinstance(part, dict | list)]
        if not level:
            return
    raise UnexpectedContentError(f"it is nested deeper than {MAX_DEPTH} levels")


def check_shape(value: Any, shape: Shape, name: str = "") -> None:
    """Compare a value with the shape that it must have.

    Args:
        value: any plain value.
        shape: a class, of which ``value`` must be an instance (a bool is no int here); a :class:`Rule`; a tuple of allowed shapes;
            ``[shape]`` for a list of such items; a dict of shapes for a dict with at least these keys; None.
        name: of the value, for the message.

    Raises:
        UnexpectedContentError: naming the first part that has another shape.

    Example:
        >>> check_shape({"step": 3, "names": ["a"]}, {"step": int, "names": [str]})
        >>> check_shape({"step": True}, {"step": int})
        Traceback (most recent call last):
            ...
        torch_rechub.storage.reading.UnexpectedContentError: 'step' must be int; it is True
    """
    if isinstance(shape, list):
        _require(isinstance(value, list), name, "a list", value)
        for i, item in enumerate(value):
            check_shape(item, shape[0], f"{name}[{i}]")
    elif isinstance(shape, Mapping):
        _require(isinstance(value, Mapping), name, "a dict", value)
        for key, inner in shape.items():
            if key not in value:
                raise UnexpectedContentError(f"{name + ': ' if name else ''}{key!r} is missing")
            check_shape(value[key], inner, f"{name}.{key}" if name else key)
    elif isinstance(shape, tuple):
        _require(any(_has_shape(value, each) for each in shape), name, " or ".join(map(_words, shape)), value)
    else:
        _require(_has_shape(value, shape), name, _words(shape), value)


def _has_shape(value: Any, shape: Shape) -> bool:
    if isinstance(shape, type):
        return isinstance(value, shape) and not (isinstance(value, bool) and shape is int)
    if shape is None or isinstance(shape, Rule):
        return value is None if shape is None else shape.holds(value)
    try:
        check_shape(value, shape)
    except UnexpectedContentError:
        return False
    return True


def _words(shape: Shape) -> str:
    if shape is None or isinstance(shape, Rule):
        return "None" if shape is None else shape.words
    return shape.__name__ if isinstance(shape, type) else "a list" if isinstance(shape, list) else "a dict"


def _require(condition: bool, name: str, expected: str, value: Any) -> None:
    if condition:
        return
    is_short = value is None or isinstance(value, bool | int | float | str)
    shown = repr(value)[:40] if is_short else f"a {type(value).__name__}"
    raise UnexpectedContentError(f"{name!r} must be {expected}; it is {shown}" if name else f"it must hold {expected}, not {shown}")
