"""A saved value compared with a live one of the same part: the live one shows what may stand there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from torch_rechub.storage.reading import UnexpectedContentError, check_shape

__all__ = ["check_like"]


def check_like(value: Any, template: Any, name: str, lengths: bool = False) -> None:
    """Compare a saved value with a live one. Numbers and tensors of one element are the same kind; None stands for any plain value.

    Args:
        value: of a save.
        template: the live one. Its dicts name the entries that must be there, apart from flags and names that begin with ``_``, which
            differ between versions; objects of other kinds are not compared.
        name: of the value, for the message.
        lengths: whether lists must be as long as the template's.

    Raises:
        UnexpectedContentError: naming the first part that is of another kind.

    Example:
        >>> check_like({"lr": 0.1, "betas": (0.9, 0.99)}, {"lr": 1e-3, "betas": (0.9, 0.999)}, "group")
        >>> check_like({"lr": "0.1"}, {"lr": 1e-3}, "group")
        Traceback (most recent call last):
            ...
        torch_rechub.storage.reading.UnexpectedContentError: 'group.lr' must be a number; it is '0.1'
    """
    if isinstance(template, Mapping):
        check_shape(value, dict, name)
        for key, part in template.items():
            if key in value:
                check_like(value[key], part, f"{name}.{key}", lengths)
            elif not (isinstance(part, bool | None) or str(key).startswith("_")):
                raise UnexpectedContentError(f"{name}: {key!r} is missing")
    elif isinstance(template, list | tuple):
        if not isinstance(value, list | tuple) or (lengths and len(value) != len(template)):
            length = f" of {len(template)}" if lengths else ""
            raise UnexpectedContentError(f"{name!r} must be a list{length}; it is {_shown(value)}")
        for i, (item, like) in enumerate(zip(value, template, strict=False)):
            check_like(item, like, f"{name}[{i}]", lengths)
    elif isinstance(template, bool):
        _require(isinstance(value, bool), "True or False", name, value)
    elif isinstance(template, str):
        _require(isinstance(value, str), "a text", name, value)
    elif isinstance(template, Tensor) and template.numel() > 1:
        given = tuple(value.shape) if isinstance(value, Tensor) else None
        _require(given == tuple(template.shape), f"a tensor {tuple(template.shape)}", name, value)
    elif isinstance(template, int | float | Tensor):
        _require(_is_number(value), "a number", name, value)
    elif template is None:
        plain = value is None or isinstance(value, bool | int | float | str | Tensor)
        _require(plain, "a plain value", name, value)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (isinstance(value, Tensor) and value.numel() == 1)


def _require(condition: bool, expected: str, name: str, value: Any) -> None:
    if not condition:
        raise UnexpectedContentError(f"{name!r} must be {expected}; it is {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    return repr(value)[:40] if value is None or isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"
