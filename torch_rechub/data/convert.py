"""Conversions of raw columns into the form that loaders accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.data.arrow import pa_array_to_tensor
from torch_rechub.data.frames import Array, to_arrays
from torch_rechub.data.padding import pad_sequences

__all__ = ["array_replace_with_dict", "df_to_dict", "pa_array_to_tensor", "pad_sequences"]


@named_arguments
def df_to_dict(data: object) -> dict[str, Array]:
    """The columns of a pandas or polars DataFrame or an Arrow table as numpy arrays; a column of lists of one length becomes a matrix.

    Args:
        data: the frame. The arrays are copies, so writing into them does not change the frame.

    Raises:
        ValueError: when a column holds lists of different lengths.

    Example:
        >>> import pandas as pd
        >>> df_to_dict(pd.DataFrame({"item": [3, 4]}))
        {'item': array([3, 4])}
    """
    return {name: np.array(array, copy=True) for name, array in to_arrays(data).items()}


@named_arguments
def array_replace_with_dict(array: Any, dic: Mapping[Any, Any]) -> Array:
    """``array`` with every value replaced by its entry in ``dic``.

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
    position = np.minimum(np.searchsorted(old, array, sorter=order), len(old) - 1)
    unknown = old[order[position]] != array
    if unknown.any():
        raise ValueError(f"dic must map every value of the array; got no entry for {array[unknown].flat[0]!r}. Add it, or drop its rows.")
    return new[order[position]]
