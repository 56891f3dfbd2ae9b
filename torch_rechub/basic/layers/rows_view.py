"""A copy of a table's rows that behaves as a view: whoever writes into it writes into the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_rechub.torch_private import without_torch_function

__all__ = ["RowsView"]

#: They end in an underscore and write no numbers.
HARMLESS = frozenset({"requires_grad_", "retain_grad", "share_memory_", "rename_"})


class RowsView(Tensor):
    """Rows as they would be up to date, read without moving one in the table.

    Reading works on the copy. Any operation that writes (``w[3] = 0``, ``w.mul_(2)``, ``nn.init.zeros_(w)``, ``out=``, also through
    views such as ``w[3]`` and through ``w.data``) first brings all rows of the table up to date and then happens there; the copy follows.
    Pickled and copied it is a plain tensor. What shares its memory outside torch (``w.numpy()``) is read-only.
    """

    _rows: Callable[[], Tensor]

    @staticmethod
    def of(copy: Tensor, rows: Callable[[], Tensor]) -> RowsView:
        """``copy`` as a view of what ``rows`` gives: the same part of the table, all rows up to date."""
        view = copy.as_subclass(RowsView)
        view._rows = rows
        return view

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        written = _written(func, args, kwargs)
        if written:
            return _write(func, args, kwargs, written)
        with without_torch_function():
            found = func(*args, **kwargs)
        if func is Tensor.numpy:
            found.flags.writeable = False
            return found
        source = next((arg for arg in args if isinstance(arg, RowsView)), None)
        return _keep_up(found, source, lambda: func(*_map(args, _real), **_map(kwargs, _real)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _plain(self).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: Any) -> Tensor:
        return _plain(self).detach().clone()


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[RowsView]:
    """The views that ``func`` writes into."""
    out = kwargs.get("out")
    written = [tensor for tensor in (out if isinstance(out, tuple | list) else (out,)) if isinstance(tensor, RowsView)]
    name = getattr(func, "__name__", "")
    in_place = (name.endswith("_") and not name.startswith("__") and name not in HARMLESS) or name == "__setitem__"
    in_place = in_place or (name.startswith("__i") and name.endswith("__") and name not in ("__index__", "__int__", "__invert__"))
    target = args[0] if args else kwargs.get("tensor", kwargs.get("input"))
    if name == "__set__":  # w.data = ..., w.grad = ...
        in_place = getattr(func.__self__, "__name__", "") == "data"
    return [*written, target] if in_place and isinstance(target, RowsView) else written


def _write(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], written: list[RowsView]) -> Any:
    """Do it in the table, then let the copies follow."""
    rows = {id(view): view._rows() for view in written}

    def real(value: Any) -> Any:
        return rows.get(id(value), _plain(value)) if isinstance(value, RowsView) else value

    if getattr(func, "__name__", "") == "__set__":
        with torch.no_grad():
            found = real(args[0]).copy_(_map(args[1], real))
    else:
        found = func(*_map(args, real), **_map(kwargs, real))
    with torch.no_grad():
        for view in written:
            _plain(view).detach().copy_(rows[id(view)])
    return next((view for view in written if found is rows[id(view)]), found)


def _keep_up(found: Any, source: RowsView | None, rows: Callable[[], Tensor]) -> Any:
    """What shares the memory of a view is a view too; anything else is a plain tensor."""
    if isinstance(found, tuple | list) and any(isinstance(part, Tensor) for part in found):
        return type(found)(_keep_up(part, source, lambda i=i: rows()[i]) for i, part in enumerate(found))
    if not isinstance(found, Tensor) or found is source:
        return found
    found = _plain(found)
    if source is None or found.layout is not torch.strided or found.numel() == 0:
        return found
    shared = found.untyped_storage().data_ptr() == _plain(source).untyped_storage().data_ptr()
    return RowsView.of(found, rows) if shared else found


def _real(value: Any) -> Any:
    """The part of the table that a view stands for."""
    return value._rows() if isinstance(value, RowsView) else value


def _plain(value: Any) -> Any:
    """The copy itself, a plain tensor."""
    with without_torch_function():
        return value.as_subclass(Tensor) if isinstance(value, RowsView) else value


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` applied to what tuples, lists and dicts hold."""
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return type(value)(_map(part, change) for part in value)
    if isinstance(value, dict):
        return {key: _map(part, change) for key, part in value.items()}
    return change(value)
