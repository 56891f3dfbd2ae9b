"""Conversion of tables of several libraries into dicts of numpy arrays, column by column.

Frames are recognised by the module of their class, so this file imports neither pandas nor polars nor pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

__all__ = ["Array", "columns_in_words", "to_array", "to_arrays"]

Array = npt.NDArray[Any]

_PAD_ADVICE = "Pad it first: torch_rechub.utils.data.pad_sequences(values, maxlen=...)."


def library(value: object) -> str:
    """The name of the library that defines the class of ``value``: "pandas", "polars", "pyarrow", "numpy", "torch", "builtins", ..."""
    return type(value).__module__.partition(".")[0]


def columns_in_words(names: Iterable[str], n_shown: int = 6) -> str:
    """The number of columns and the first few of their names.

    Example:
        >>> columns_in_words(["user", "item", "age"], n_shown=2)
        '3 columns: user, item, ...'
    """
    names = list(names)
    more = ", ..." if len(names) > n_shown else ""
    return f"{len(names)} column{'' if len(names) == 1 else 's'}: {', '.join(names[:n_shown])}{more}"


def to_arrays(x: object) -> dict[str, Array]:
    """The columns of ``x`` as arrays of any dtype. A column of lists of one length becomes a matrix. Memory is shared if possible.

    Args:
        x: a dict of arrays, tensors or lists, a pandas or polars DataFrame, or an Arrow table.

    Raises:
        TypeError: when ``x`` is none of these, or a column's name is not a string.
        ValueError: when two columns have the same name, or a column holds lists of different lengths.

    Example:
        >>> to_arrays({"item": [3, 4], "history": [[1, 2], [0, 1]]})["history"].shape
        (2, 2)
    """
    pairs = _named_columns(x)
    for name, _ in pairs:
        if not isinstance(name, str):
            raise TypeError(f"Column names must be strings; got {name!r}. Rename it, for example with str(name).")
    names = [name for name, _ in pairs]
    duplicate = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if duplicate is not None:
        raise ValueError(f"Column names must differ; got '{duplicate}' {names.count(duplicate)} times. Rename or drop one.")
    return {name: to_array(values, f"Column '{name}'") for name, values in pairs}


def _named_columns(x: Any) -> list[tuple[Any, Any]]:
    """The pairs (name, values) of all columns of ``x``."""
    if isinstance(x, Mapping):
        return list(x.items())
    if is_frame(x):
        if library(x) == "pandas":
            return list(x.items())
        if library(x) == "polars":
            return [(column.name, column) for column in x.get_columns()]
        return list(zip(x.column_names, x.columns, strict=True))
    remedy = "Call .collect() first." if type(x).__name__ == "LazyFrame" else "Give each column a name: {'user': users, 'item': items}."
    raise TypeError(f"x must be a dict of columns, a pandas or polars DataFrame, or an Arrow table; got {type(x).__name__}. {remedy}")


def is_frame(x: object) -> bool:
    """Whether ``x`` is a DataFrame or an Arrow table."""
    return (library(x), type(x).__name__) in {
        ("pandas", "DataFrame"),
        ("polars", "DataFrame"),
        ("pyarrow", "Table"),
        ("pyarrow", "RecordBatch"),
    }


def to_array(values: Any, what: str) -> Array:
    """One column as an array. An integer column with missing values becomes a float column with NaN, as in pandas.

    Args:
        values: an array, tensor, list, Series or Arrow array.
        what: the name of the column in errors, for example "Column 'city'".

    Raises:
        ValueError: when the rows are lists of different lengths.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return values.numpy() if str(values.dtype) != "torch.bfloat16" else values.float().numpy()
    source = library(values)
    if source == "pandas":
        array = _from_pandas(values)
    elif source == "polars":
        array = _from_polars(values, what)
    elif source == "pyarrow":
        array = _from_arrow(values, what)
    else:
        array = _from_list(values, what) if isinstance(values, list | tuple) else np.asarray(values)
    return _stack(array, what) if array.dtype == object and array.ndim == 1 else array


def _from_list(values: Any, what: str) -> Array:
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what}: rows must be numbers, or lists of one length; got lists of different lengths. {_PAD_ADVICE}") from error


def _from_pandas(values: Any) -> Array:
    dtype = getattr(values.dtype, "numpy_dtype", None)  # set for nullable and Arrow-backed columns
    if dtype is None or dtype.kind == "O":
        return np.asarray(values)
    if values.isna().any():
        return values.to_numpy(dtype=np.float64, na_value=np.nan) if dtype.kind in "biuf" else np.asarray(values, dtype=object)
    return values.to_numpy(dtype=dtype)


def _from_polars(values: Any, what: str) -> Array:
    if str(values.dtype).startswith("List"):
        lengths = values.list.len()
        _check_equal_lengths(lengths.to_numpy(), what)
        values = values.list.to_array(int(lengths[0] or 0)) if len(values) else values
    return values.to_numpy()


def _from_arrow(values: Any, what: str) -> Array:
    values = values.combine_chunks() if hasattr(values, "combine_chunks") else values
    if str(values.type).startswith(("list", "large_list", "fixed_size_list")):
        from pyarrow import compute

        lengths = compute.call_function("list_value_length", [values]).to_numpy(zero_copy_only=False)
        _check_equal_lengths(lengths, what)
        return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
    return values.to_numpy(zero_copy_only=False)


def _stack(array: Array, what: str) -> Array:
    """A 1-D array of lists or arrays as a matrix; an array of other objects is returned unchanged."""
    if len(array) == 0 or not isinstance(array[0], list | tuple | np.ndarray):
        return array
    rows = array.tolist()
    try:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    except TypeError as error:
        raise ValueError(f"{what}: rows must be lists of one length; got a missing value among them. {_PAD_ADVICE}") from error
    _check_equal_lengths(lengths, what)
    return np.concatenate(rows).reshape(len(rows), -1)


def _check_equal_lengths(lengths: Array, what: str) -> None:
    different_rows = np.flatnonzero(lengths != lengths[:1])
    if len(different_rows):
        row = int(different_rows[0])
        raise ValueError(f"{what}: lists must have one length; got {lengths[0]} at row 0 and {lengths[row]} at row {row}. {_PAD_ADVICE}")
