"""Lists of different lengths as one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from torch_rechub.arguments import named_arguments
from torch_rechub.data.frames import Array, library, to_array
from torch_rechub.data.numbers import as_numbers, is_missing

__all__ = ["pad_sequences"]

Side = Literal["pre", "post"]


@named_arguments
def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: str | type[Any] | None = None,
    padding: Side = "pre",
    truncating: Side = "pre",
    value: float = 0.0,
) -> Array:
    """Lists of different lengths as one matrix, as ``keras.utils.pad_sequences`` does. All rows are processed at once.

    Args:
        sequences: one list or array per row; an empty one becomes a row of padding.
        maxlen: length of a row; None uses the length of the longest sequence.
        dtype: the dtype of the matrix; None takes int32 for whole numbers, int64 where one does not fit, and float32 for others.
        padding: where a short row is padded: "pre" at its start, "post" at its end.
        truncating: where a long row is cut: "pre" drops values at its start, "post" at its end.
        value: the value of the padding.

    Shape:
        ``(number of sequences, maxlen)``.

    Raises:
        ValueError: when ``padding`` or ``truncating`` is neither "pre" nor "post", or ``maxlen`` is negative; or naming a value, its
            sequence and its place, when ``dtype`` cannot hold it.
        TypeError: when a value is no number.

    Example:
        >>> pad_sequences([[1, 2, 3], [4]], maxlen=2, padding="post").tolist()
        [[2, 3], [4, 0]]
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in get_args(Side):
            raise ValueError(f"{name} must be 'pre' or 'post'; got {side!r}.")
    if maxlen is not None and maxlen < 0:
        raise ValueError(f"maxlen must be >= 0; got {maxlen}.")
    sequences = _rows(sequences)
    n_row = len(sequences)
    lengths = np.fromiter(map(len, sequences), np.int64, n_row)
    width = int(maxlen if maxlen is not None else lengths.max(initial=0))
    row = np.repeat(np.arange(n_row), lengths)
    position = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # of each value within its row
    if truncating == "pre":
        position -= np.repeat(np.maximum(lengths - width, 0), lengths)
    is_kept = (position >= 0) & (position < width)
    if padding == "pre":
        position += np.repeat(np.maximum(width - lengths, 0), lengths)
    values = _flatten(sequences, len(row))
    kind = np.dtype(_fitting_dtype(values, value) if dtype is None else dtype)
    _check_fits(values, value, kind, lengths)
    matrix = np.full((n_row, width), value, dtype=kind)
    matrix[row[is_kept], position[is_kept]] = values[is_kept]
    return matrix


def _rows(sequences: Any) -> list[Any]:
    """The sequences as a list of lists and arrays.

    Raises:
        ValueError, TypeError: naming a sequence that is missing, is no sequence, or has masked values.
    """
    rows = sequences.to_pylist() if library(sequences) == "pyarrow" else list(sequences)
    for i, row in enumerate(rows):
        if type(row) is list:
            continue
        if is_missing(row):
            raise ValueError(f"pad_sequences: each sequence must be a list; sequence {i} is missing. Give [] for an empty one.")
        if not hasattr(row, "__len__") or isinstance(row, str):
            raise TypeError(f"pad_sequences: each sequence must be a list or an array; sequence {i} is {row!r}. Put it in brackets.")
        if isinstance(row, Tensor | np.ma.MaskedArray):
            rows[i] = to_array(row, f"pad_sequences: sequence {i}")
    return rows


def _flatten(parts: Sequence[Any], n_value: int) -> Array:
    """All values in one array of their own dtype."""
    if n_value and all(isinstance(part, np.ndarray) for part in parts):
        array = np.concatenate(parts)
    else:
        values = list(chain.from_iterable(parts))
        try:
            array = np.asarray(values) if values else np.zeros(0, np.int32)
        except ValueError:  # lists of different lengths
            array = np.zeros((0, 0))
        if array.ndim != 1:
            nested = next(value for value in values if hasattr(value, "__len__"))
            raise TypeError(f"pad_sequences: a sequence must hold numbers; got the list {nested!r} in one. Pad each level by itself.")
        if array.dtype.kind == "f" and not any(isinstance(value, float | np.floating) for value in values):
            array = np.array(values, object)  # integers beyond int64
    if array.dtype == object:
        array = as_numbers(array, "pad_sequences")
    if array.dtype.kind not in "biuf":
        first = array.flat[0]
        raise TypeError(f"pad_sequences: values must be numbers; got {array.dtype} (first value {first!r}). Encode them as ids first.")
    return array


def _fitting_dtype(values: Array, padding: float) -> Any:
    """float32 for floats, and int32 for whole numbers, or int64 where one does not fit."""
    if values.dtype.kind == "f" or not float(padding).is_integer():
        return np.float32
    limits = np.iinfo(np.int32)
    ends = [int(padding), *((int(values.min()), int(values.max())) if values.size else ())]
    return np.int32 if limits.min <= min(ends) and max(ends) <= limits.max else np.int64


def _check_fits(values: Array, padding: float, dtype: Any, lengths: Array) -> None:
    """Refuse values that ``dtype`` does not hold: fractions, missing values and large numbers in integers; others beyond its range.

    Fractions are rounded to a float dtype; whole numbers from integer columns must keep their value in it.
    """
    if dtype.kind not in "iuf":
        return
    remedy = "Leave dtype out, which takes one that fits."
    if _lost(np.asarray([padding]), dtype)[0]:
        raise ValueError(f"pad_sequences: {dtype} cannot hold {padding!r} as the padding. {remedy}")
    lost = _lost(values, dtype)
    if lost.any():
        first, ends = int(np.flatnonzero(lost)[0]), np.cumsum(lengths)
        row = int(np.searchsorted(ends, first, side="right"))
        place = f"in sequence {row} at place {first - int(ends[row] - lengths[row])}"
        raise ValueError(f"pad_sequences: {dtype} cannot hold {values[first].item()!r} {place}. {remedy}")


def _lost(values: Array, dtype: Any) -> Array:
    """Whether a dtype cannot hold a value."""
    if dtype.kind == "f":
        if values.dtype.kind == "f":
            return np.isfinite(values) & (np.abs(values) > np.finfo(dtype).max)
        exact = 2 ** (np.finfo(dtype).nmant + 1)  # every whole number up to here
        return (values > exact) | (values < -exact) if values.dtype.kind != "b" else np.zeros(len(values), bool)
    limits = np.iinfo(dtype)
    beyond = (values >= 2.0**limits.bits / (1 if dtype.kind == "u" else 2)) if values.dtype.kind == "f" else values > limits.max
    with np.errstate(invalid="ignore"):
        return (values < limits.min) | beyond | (values != np.floor(values))
