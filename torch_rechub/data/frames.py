"""Conversion of tables of several libraries into dicts of numpy arrays, column by column.

Frames are recognised by the module of their class, so this file imports neither pandas nor polars nor pyarrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torch_rechub.data.numbers import check_exact, is_missing, refuse_masked, to_native

__all__ = ["Array", "RaggedListsError", "columns_in_words", "to_array", "to_arrays"]

Array = npt.NDArray[Any]

EXACT = 2.0**53  #: float64 holds every whole number up to here
_PAD_ADVICE = "Pad it first: torch_rechub.utils.data.pad_sequences(values, maxlen=...)."


class RaggedListsError(ValueError):
    """The rows of a column are lists of different lengths."""


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


def to_arrays(x: object, pad: Callable[[str, Any], Array] | None = None) -> dict[str, Array]:
    """The columns of ``x`` as arrays of any dtype. A column of lists of one length becomes a matrix. Memory is shared if possible.

    Args:
        x: a dict of arrays, tensors or lists, a pandas or polars DataFrame, or an Arrow table.
        pad: ``(name, values)`` -> the matrix of a column of lists of different lengths; None refuses such columns.

    Raises:
        TypeError: when ``x`` is none of these, or a column's name is not a string.
        ValueError: when two columns have the same name, or a column holds lists of different lengths and there is no ``pad``.

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
    return {name: _array_of(name, values, pad) for name, values in pairs}


def _array_of(name: str, values: Any, pad: Callable[[str, Any], Array] | None) -> Array:
    try:
        return to_array(values, f"Column '{name}'")
    except RaggedListsError:
        if pad is None:
            raise
        return pad(name, values)


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
        return _from_torch(values, what)
    if isinstance(values, np.ma.MaskedArray):
        refuse_masked(values, what)
    source = library(values)
    if source == "pandas":
        array = _from_pandas(values, what)
    elif source == "polars":
        array = _from_polars(values, what)
    elif source == "pyarrow":
        array = _from_arrow(values, what)
    else:
        array = _from_list(values, what) if isinstance(values, list | tuple) else np.asarray(values)
    if array.dtype == object and array.ndim == 1:
        array = _stack(array, what)
    return to_native(array)


def _from_torch(values: Tensor, what: str) -> Array:
    """A tensor's values; bfloat16 and smaller types, which numpy does not have, are widened to float32."""
    if values.layout is not torch.strided or values.is_quantized:
        remedy = "values.dequantize()" if values.is_quantized else "values.to_dense()"
        raise TypeError(
            f"{what}: a tensor must be dense; got {'a quantized one' if values.is_quantized else values.layout}. Give {remedy}."
        )
    if values.is_nested or values.is_meta or values.is_complex():
        kind = (
            "a nested tensor"
            if values.is_nested
            else "a tensor of the device meta, which has no values"
            if values.is_meta
            else values.dtype
        )
        raise TypeError(f"{what}: a tensor must hold real numbers, one or one list of equal length a row; got {kind}. Convert it first.")
    values = values.detach().cpu()
    is_narrow = values.is_floating_point() and values.dtype not in {torch.float16, torch.float32, torch.float64}
    return values.float().numpy() if is_narrow else values.resolve_neg().numpy()


def _from_list(values: Any, what: str) -> Array:
    try:
        array = np.asarray(values)
        # numpy turns integers beside floats into float64; those that it rounds are read again one by one, to be refused
        beyond = array.dtype.kind == "f" and array.size and bool((np.abs(array) >= EXACT).any())
        return np.asarray(values, dtype=object) if beyond else array
    except (ValueError, TypeError) as error:
        missing = next((row for row, value in enumerate(values) if is_missing(value)), None)
        if missing is not None and any(hasattr(value, "__len__") for value in values):
            raise ValueError(_missing_row(what, missing)) from error
        kind = RaggedListsError if all(isinstance(value, list | tuple | np.ndarray) for value in values) else ValueError
        raise kind(f"{what}: rows must be numbers, or lists of one length; got lists of different lengths. {_PAD_ADVICE}") from error


def _from_pandas(values: Any, what: str) -> Array:
    dtype = getattr(values.dtype, "numpy_dtype", None)  # set for nullable and Arrow-backed columns
    if dtype is None or dtype.kind == "O":
        return np.asarray(values)
    missing = values.isna()
    if missing.any():
        if dtype.kind not in "biuf":
            return np.asarray(values, dtype=object)
        if dtype.kind in "iu":
            check_exact(int(missing.sum()), _largest(values.min(), values.max()), what)
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return values.to_numpy(dtype=dtype)


def _from_polars(values: Any, what: str) -> Array:
    kind = str(values.dtype)
    _refuse_pairs(kind, what)
    if kind.startswith(("List", "Array")):
        _check_none_missing(values.is_null().to_numpy(), what)
    if kind.startswith("List"):
        lengths = values.list.len()
        _check_equal_lengths(lengths.to_numpy(), what)
        values = values.list.to_array(int(lengths[0] or 0)) if len(values) else values
    kind = str(values.dtype)
    if kind.startswith(("Decimal", "Int128", "UInt128")):
        return np.array(values.to_list(), object)
    if values.dtype.is_integer():
        check_exact(values.null_count(), _largest(values.min(), values.max()), what)
    return values.to_numpy()


def _from_arrow(values: Any, what: str) -> Array:
    values = values.combine_chunks() if hasattr(values, "combine_chunks") else values
    kind = str(values.type)
    _refuse_pairs(kind, what)
    if kind.startswith(("list", "large_list", "fixed_size_list")):
        _check_none_missing(values.is_null().to_numpy(zero_copy_only=False), what)
    if kind.startswith("dictionary"):
        return _from_arrow(values.dictionary_decode(), what)
    if kind.startswith(("list", "large_list", "fixed_size_list")):
        from pyarrow import compute

        lengths = compute.call_function("list_value_length", [values]).to_numpy(zero_copy_only=False)
        _check_equal_lengths(lengths, what)
        return _from_arrow(values.flatten(), what).reshape(len(values), -1)
    if values.null_count and kind.startswith(("int", "uint")):
        from pyarrow import compute

        ends = compute.call_function("min_max", [values]).as_py()
        check_exact(values.null_count, _largest(ends["min"], ends["max"]), what)
    return values.to_numpy(zero_copy_only=False)


def _refuse_pairs(kind: str, what: str) -> None:
    """Refuse columns of named fields, which would become a matrix without their names."""
    if kind.lower().startswith(("struct", "map")):
        raise TypeError(f"{what}: values must be numbers or lists of numbers; got {kind}. Make one column of each field first.")


def _check_none_missing(is_missing_row: Array, what: str) -> None:
    if is_missing_row.any():
        raise ValueError(_missing_row(what, int(np.flatnonzero(is_missing_row)[0])))


def _missing_row(what: str, row: int) -> str:
    return f"{what}: each row must be a list; the list at row {row} is missing. Give it values. {_PAD_ADVICE}"


def _largest(lowest: Any, highest: Any) -> int:
    """The largest absolute value between two ends; 0 where all values are missing."""
    return max((abs(int(end)) for end in (lowest, highest) if not is_missing(end)), default=0)


def _stack(array: Array, what: str) -> Array:
    """A 1-D array of lists or arrays as a matrix; an array of other objects is returned unchanged."""
    if len(array) == 0 or not isinstance(array[0], list | tuple | np.ndarray):
        return array
    rows = array.tolist()
    try:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    except TypeError as error:
        missing = next((row for row, value in enumerate(rows) if is_missing(value)), None)
        if missing is not None:
            raise ValueError(_missing_row(what, missing)) from error
        raise ValueError(f"{what}: rows must be lists of one length; got single values among them. {_PAD_ADVICE}") from error
    _check_equal_lengths(lengths, what)
    return np.concatenate(rows).reshape(len(rows), -1)


def _check_equal_lengths(lengths: Array, what: str) -> None:
    different_rows = np.flatnonzero(lengths != lengths[:1])
    if len(different_rows):
        row = int(different_rows[0])
        raise RaggedListsError(
            f"{what}: lists must have one length; got {lengths[0]} at row 0 and {lengths[row]} at row {row}. {_PAD_ADVICE}"
        )
