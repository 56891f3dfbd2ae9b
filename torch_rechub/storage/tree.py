"""Splits a tree of state into plain values for JSON and tensors. Joining them never executes code."""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_rechub.storage.reading import MAX_DEPTH, Rule, UnexpectedContentError, check_depth, check_shape
from torch_rechub.torch_private import metadata_of, with_metadata

__all__ = ["join_tree", "split_tree"]

METADATA = Rule("a dict of dicts", lambda value: isinstance(value, dict) and all(isinstance(local, dict) for local in value.values()))


def split_tree(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split a tree of dicts, lists, tuples, counters, numbers, strings and tensors.

    JSON has neither tuples nor integer keys (with milestones as strings, a ``MultiStepLR`` would never change the rate). So each value
    that JSON would change is stored with a tag of its type. The metadata of a ``state_dict`` are kept,
    as far as they are values that can be saved.

    Returns:
        Plain values for ``json.dumps``, in which names stand for the tensors, and the tensors by name.

    Raises:
        TypeError: naming the path of a value of any other type.
        ValueError: when it is nested deeper than a file may be.

    Example:
        >>> plain, tensors = split_tree({"step": 3, "w": torch.ones(2), 7: ("a", 1.5)})
        >>> join_tree(plain, tensors)
        {'step': 3, 'w': tensor([1., 1.]), 7: ('a', 1.5)}
    """
    tensors = _Tensors()
    try:
        plain = _split(tree, "state", tensors)
        check_depth(plain)
    except (RecursionError, UnexpectedContentError) as error:
        raise ValueError(f"The state cannot be saved: it is nested deeper than {MAX_DEPTH} levels, or contains itself.") from error
    return plain, tensors.named


class _Tensors:
    """Tensors by name. A tensor that occurs twice in a tree is stored once."""

    def __init__(self) -> None:
        self.named: dict[str, Tensor] = {}
        self._names: dict[Any, str] = {}

    def name(self, tensor: Tensor) -> str:
        """The name of ``tensor``, which is added if it is new."""
        key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) if tensor.numel() else object()
        if key not in self._names:
            self._names[key] = str(len(self.named))
            self.named[self._names[key]] = tensor.detach()
        return self._names[key]


def _split(value: Any, path: str, tensors: _Tensors) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor | np.ndarray):
        kind, tensor = ("tensor", value) if isinstance(value, Tensor) else ("array", torch.from_numpy(value))
        return {"$": kind, "of": tensors.name(tensor)}
    if isinstance(value, list | tuple):
        items = [_split(item, f"{path}[{i}]", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$": "tuple", "of": items}
    if isinstance(value, Mapping):
        return _split_mapping(value, path, tensors)
    raise TypeError(f"{path} cannot be saved: it is a {type(value).__name__}. State must be tensors, numbers, strings, lists and dicts.")


def _split_mapping(value: Mapping[Any, Any], path: str, tensors: _Tensors) -> Any:
    pairs = [[_split(key, f"{path} key", tensors), _split(item, f"{path}[{key!r}]", tensors)] for key, item in value.items()]
    metadata = metadata_of(value)
    if metadata is not None:
        return {"$": "weights", "of": pairs, "metadata": _split_metadata(metadata, tensors)}
    kind = "counter" if isinstance(value, Counter) else "ordered" if isinstance(value, OrderedDict) else "dict"
    if kind == "dict" and all(isinstance(key, str) and key != "$" for key in value):
        return dict(pairs)
    return {"$": kind, "of": pairs}


def _split_metadata(metadata: Mapping[str, Mapping[str, Any]], tensors: _Tensors) -> Any:
    """What torch's and our modules write; what cannot be saved of a user's is left out, as it is not needed for a value."""
    split: dict[str, dict[str, Any]] = {}
    for prefix, local in metadata.items():
        split[prefix] = {}
        for name, value in local.items():
            with contextlib.suppress(TypeError):
                split[prefix][name] = _split(value, name, tensors)
    return split


def join_tree(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that :func:`split_tree` was given."""
    if isinstance(plain, list):
        return [join_tree(item, tensors) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if "$" in plain:
        return _join_tagged(plain, tensors)
    return {key: join_tree(item, tensors) for key, item in plain.items()}


def _join_tagged(plain: dict[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    kind, content = plain["$"], plain["of"]
    if kind in {"tensor", "array"}:
        return tensors[content] if kind == "tensor" else tensors[content].numpy()
    if kind == "tuple":
        return tuple(join_tree(item, tensors) for item in content)
    pairs = {join_tree(key, tensors): join_tree(item, tensors) for key, item in content}
    if kind == "weights":
        check_shape(plain, {"metadata": METADATA})
        return with_metadata(pairs, join_tree(plain["metadata"], tensors))
    return {"dict": dict, "counter": Counter, "ordered": OrderedDict}[kind](pairs)
