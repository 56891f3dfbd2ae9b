"""Small conversions that bring raw columns into the shape that loaders take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal, get_args

import numpy as np

from torch_rechub.data.frames import Array, to_arrays

__all__ = ["array_replace_with_dict", "df_to_dict", "pad_sequences"]

Side = Literal["pre", "post"]


def df_to_dict(data: object) -> dict[str, Array]:
    """The columns of a pandas or polars DataFrame or an Arrow table as numpy arrays; a column of lists of one length becomes a matrix.

    Args:
        data: the frame. It is not changed, and neither is it when the arrays are: they are copies.

    Raises:
        ValueError: when a column holds lists of different lengths.

    Example:
        >>> import pandas as pd
        >>> df_to_dict(pd.DataFrame({"item": [3, 4]}))
        {'item': array([3, 4])}
    """
    return {name: np.array(array, copy=True) for name, array in to_arrays(data).items()}


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: str | type[Any] = "int32",
    padding: Side = "pre",
    truncating: Side = "pre",
    value: float = 0.0,
) -> Array:
    """Lists of different lengths as one matrix, as ``keras.utils.pad_sequences`` does it, all rows at once.

    Args:
        sequences: one list or array a row; an empty one becomes padding alone.
        maxlen: length of a row; None takes the longest.
        dtype: of the matrix.
        padding: where a short row is filled: "pre" puts the padding in front, "post" behind.
        truncating: where a long row is cut: "pre" drops its front, "post" its end.
        value: of the padding.

    Shape:
        ``(number of sequences, maxlen)``.

    Raises:
        ValueError: when ``padding`` or ``truncating`` is neither "pre" nor "post", or ``maxlen`` is negative.

    Example:
        >>> pad_sequences([[1, 2, 3], [4]], maxlen=2, padding="post").tolist()
        [[2, 3], [4, 0]]
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in get_args(Side):
            raise ValueError(f"{name} must be 'pre' or 'post'; got {side!r}.")
    if maxlen is not None and maxlen < 0:
        raise ValueError(f"maxlen must be >= 0; got {maxlen}.")
    n_row = len(sequences)
    lengths = np.fromiter(map(len, sequences), np.int64, n_row)
    width = int(maxlen if maxlen is not None else lengths.max(initial=0))
    row = np.repeat(np.arange(n_row), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # place of each value within its own row
    if truncating == "pre":
        place -= np.repeat(np.maximum(lengths - width, 0), lengths)
    keep = (place >= 0) & (place < width)
    if padding == "pre":
        place += np.repeat(np.maximum(width - lengths, 0), lengths)
    matrix = np.full((n_row, width), value, dtype=dtype)
    matrix[row[keep], place[keep]] = _flatten(sequences, len(row), dtype)[keep]
    return matrix


def _flatten(sequences: Sequence[Any], total: int, dtype: str | type[Any]) -> Array:
    """All values in one array: arrays are joined as they lie, lists are read value by value in C."""
    if total and isinstance(next(iter(sequences)), np.ndarray):
        return np.concatenate(list(sequences)).astype(dtype, copy=False)
    return np.fromiter(chain.from_iterable(sequences), np.dtype(dtype), total)


def array_replace_with_dict(array: Any, dic: Mapping[Any, Any]) -> Array:
    """Every value of ``array`` replaced by what ``dic`` maps it to.

    Args:
        array: values, of any shape.
        dic: old value -> new value, with an entry for every value of ``array``.

    Raises:
        ValueError: when a value has no entry.

    Example:
        >>> array_replace_with_dict([3, 5, 3], {3: 0, 5: 1})
        array([0, 1, 0])
    """
    array = np.asarray(array)
    if not dic:
        raise ValueError("dic must map every value of the array; got an empty one.")
    old, new = np.array(list(dic)), np.array(list(dic.values()))
    order = old.argsort()
    place = np.minimum(np.searchsorted(old, array, sorter=order), len(old) - 1)
    unknown = old[order[place]] != array
    if unknown.any():
        raise ValueError(f"dic must map every value of the array; got no entry for {array[unknown].flat[0]!r}. Add it, or drop its rows.")
    return new[order[place]]
