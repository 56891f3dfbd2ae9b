"""A tree of state in two parts: plain values for JSON, and tensors beside it. Reading one never runs code."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["join_tree", "split_tree"]


def split_tree(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Part a tree of dicts, lists, tuples, counters, numbers, strings and tensors.

    JSON knows neither tuples nor integer keys (a ``MultiStepLR`` whose milestones became strings would never fire again), so whatever
    it would change is tagged.

    Returns:
        What ``json.dumps`` takes, and the tensors by the names that stand in their place.

    Raises:
        TypeError: naming the place of a value that is none of these.

    Example:
        >>> plain, tensors = split_tree({"step": 3, "w": torch.ones(2), 7: ("a", 1.5)})
        >>> join_tree(plain, tensors)
        {'step': 3, 'w': tensor([1., 1.]), 7: ('a', 1.5)}
    """
    tensors = _Tensors()
    return _split(tree, "state", tensors), tensors.named


class _Tensors:
    """Tensors by name; one that stands in two places of a tree is kept once."""

    def __init__(self) -> None:
        self.named: dict[str, Tensor] = {}
        self._names: dict[Any, str] = {}

    def name(self, tensor: Tensor) -> str:
        same = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) if tensor.numel() else object()
        if same not in self._names:
            self._names[same] = str(len(self.named))
            self.named[self._names[same]] = tensor.detach()
        return self._names[same]


def _split(value: Any, place: str, tensors: _Tensors) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor | np.ndarray):
        kind, tensor = ("tensor", value) if isinstance(value, Tensor) else ("array", torch.from_numpy(value))
        return {"$": kind, "of": tensors.name(tensor)}
    if isinstance(value, list | tuple):
        items = [_split(item, f"{place}[{i}]", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$": "tuple", "of": items}
    if isinstance(value, Mapping):
        pairs = [[_split(key, f"{place} key", tensors), _split(item, f"{place}[{key!r}]", tensors)] for key, item in value.items()]
        kind = "counter" if isinstance(value, Counter) else "ordered" if isinstance(value, OrderedDict) else "dict"
        if kind == "dict" and all(isinstance(key, str) and key != "$" for key in value):
            return dict(pairs)
        return {"$": kind, "of": pairs}
    raise TypeError(f"{place} cannot be saved: it is a {type(value).__name__}. State must be tensors, numbers, strings, lists and dicts.")


def join_tree(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that :func:`split_tree` parted."""
    if isinstance(plain, list):
        return [join_tree(item, tensors) for item in plain]
    if not isinstance(plain, dict):
        return plain
    kind = plain.get("$")
    if kind is None:
        return {key: join_tree(item, tensors) for key, item in plain.items()}
    inner = plain["of"]
    if kind in {"tensor", "array"}:
        return tensors[inner] if kind == "tensor" else tensors[inner].numpy()
    if kind == "tuple":
        return tuple(join_tree(item, tensors) for item in inner)
    pairs = {join_tree(key, tensors): join_tree(item, tensors) for key, item in inner}
    return {"dict": dict, "counter": Counter, "ordered": OrderedDict}[kind](pairs)
