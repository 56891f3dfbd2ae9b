"""A copy of a table's rows that behaves as a view: writing into it writes into the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_rechub.torch_private import without_torch_function

__all__ = ["RowsView"]

#: Methods that end in an underscore and do not change values.
NOT_WRITING = frozenset({"requires_grad_", "retain_grad", "share_memory_", "rename_"})


class Freezing(Tensor):
    """The weight of one feature: its ``requires_grad`` is that of the feature, which can be frozen alone."""

    embedding: Any = None

    @property
    def requires_grad(self) -> bool:
        """Whether the feature is trained."""
        with without_torch_function():
            return Tensor.requires_grad.__get__(self)  # type: ignore[attr-defined]

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:  # type: ignore[override]
        """Freeze or unfreeze the feature."""
        if self.embedding is None:
            with without_torch_function():
                return Tensor.requires_grad_(self, requires_grad)
        self.embedding.requires_grad_(requires_grad)
        return self.embedding.weight


class RowsView(Freezing):
    """An up-to-date copy of rows of a table, which does not change the table when it is read.

    Reading uses the copy. An operation that writes (``w[3] = 0``, ``w.mul_(2)``, ``nn.init.zeros_(w)``, ``out=``, also through
    views such as ``w[3]`` and through ``w.data``) first brings all rows of the table up to date, then writes into the table, and then
    updates the copy. A pickle or a copy of it is a plain tensor. An array that shares its memory (``w.numpy()``) is read-only.
    """

    _rows: Callable[[], Tensor]

    @staticmethod
    def of(copy: Tensor, rows: Callable[[], Tensor]) -> RowsView:
        """``copy`` as a view of the result of ``rows``: the same part of the table, with all rows up to date."""
        view = copy.as_subclass(RowsView)
        view._rows = rows
        return view

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        written = _written_views(func, args, kwargs)
        if written:
            return _write(func, args, kwargs, written)
        with without_torch_function():
            result = func(*args, **kwargs)
        if func is Tensor.numpy:
            result.flags.writeable = False
            return result
        source = next((arg for arg in args if isinstance(arg, RowsView)), None)
        return _as_views(result, source, lambda: func(*_map_nested(args, _table_rows), **_map_nested(kwargs, _table_rows)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _plain(self).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: Any) -> Tensor:
        return _plain(self).detach().clone()


def _written_views(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[RowsView]:
    """The views that ``func`` writes into."""
    out = kwargs.get("out")
    written = [tensor for tensor in (out if isinstance(out, tuple | list) else (out,)) if isinstance(tensor, RowsView)]
    name = getattr(func, "__name__", "")
    in_place = (name.endswith("_") and not name.startswith("__") and name not in NOT_WRITING) or name == "__setitem__"
    in_place = in_place or (name.startswith("__i") and name.endswith("__") and name not in ("__index__", "__int__", "__invert__"))
    target = args[0] if args else kwargs.get("tensor", kwargs.get("input"))
    if name == "__set__":  # w.data = ..., w.grad = ...
        in_place = getattr(func.__self__, "__name__", "") == "data"
    return [*written, target] if in_place and isinstance(target, RowsView) else written


def _write(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], written: list[RowsView]) -> Any:
    """Call ``func`` on the table, then update the copies."""
    rows = {id(view): view._rows() for view in written}

    def table_rows(value: Any) -> Any:
        return rows.get(id(value), _plain(value)) if isinstance(value, RowsView) else value

    if getattr(func, "__name__", "") == "__set__":
        with torch.no_grad():
            result = table_rows(args[0]).copy_(_map_nested(args[1], table_rows))
    else:
        result = func(*_map_nested(args, table_rows), **_map_nested(kwargs, table_rows))
    with torch.no_grad():
        for view in written:
            _plain(view).detach().copy_(rows[id(view)])
    return next((view for view in written if result is rows[id(view)]), result)


def _as_views(result: Any, source: RowsView | None, rows: Callable[[], Tensor]) -> Any:
    """A result that shares the memory of ``source`` as a view; any other tensor as a plain tensor."""
    if isinstance(result, tuple | list) and any(isinstance(part, Tensor) for part in result):
        return type(result)(_as_views(part, source, lambda i=i: rows()[i]) for i, part in enumerate(result))
    if not isinstance(result, Tensor) or result is source:
        return result
    result = _plain(result)
    if source is None or result.layout is not torch.strided or result.numel() == 0:
        return result
    shared = result.untyped_storage().data_ptr() == _plain(source).untyped_storage().data_ptr()
    return RowsView.of(result, rows) if shared else result


def _table_rows(value: Any) -> Any:
    """The part of the table that a view represents."""
    return value._rows() if isinstance(value, RowsView) else value


def _plain(value: Any) -> Any:
    """The copy itself, as a plain tensor."""
    with without_torch_function():
        return value.as_subclass(Tensor) if isinstance(value, RowsView) else value


def _map_nested(value: Any, change: Callable[[Any], Any]) -> Any:
    """Apply ``change`` to the values in nested tuples, lists and dicts."""
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return type(value)(_map_nested(part, change) for part in value)
    if isinstance(value, dict):
        return {key: _map_nested(part, change) for key, part in value.items()}
    return change(value)
