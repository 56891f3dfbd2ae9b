"""A column of any container as numbers, each with its own value; what cannot be kept is named with its column, row and value."""

from __future__ import annotations

import decimal
import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_numbers", "check_exact", "is_missing", "refuse_masked", "to_native"]

Array = npt.NDArray[Any]

_FLOAT64_WHOLE = 2**53  # float64 holds every whole number up to here
_INT64_MAX = 2**63 - 1


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, NaT, or the NA of pandas."""
    if value is None:
        return True
    if type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating | decimal.Decimal) and math.isnan(value)


def as_numbers(array: Array, what: str) -> Array:
    """An array of Python objects as an array of numbers; a missing value turns it into float64 with NaN, as in pandas.

    Args:
        array: of dtype object; one dimension, or rows of equal length.
        what: the name of the column in errors.

    Raises:
        TypeError: naming the first value that is no number, and its row.
        ValueError: naming a number that neither int64 nor, among missing values, float64 can hold.

    Example:
        >>> as_numbers(np.array([True, None, 2], object), "Column 'a'")
        array([ 1., nan,  2.])
    """
    values = array.ravel().tolist()
    missing = [is_missing(value) for value in values]
    kinds = {type(value) for value, gone in zip(values, missing, strict=True) if not gone}
    strange = next((kind for kind in kinds if not _is_number(kind)), None)
    if strange is not None:
        first = next(i for i, value in enumerate(values) if type(value) is strange)
        raise TypeError(f"{what}: values must be numbers; got {values[first]!r} at row {_row(array, first)}. {_ENCODE}")
    if kinds and all(issubclass(kind, bool | np.bool_) for kind in kinds) and not any(missing):
        return np.array(values, bool).reshape(array.shape)
    if all(issubclass(kind, numbers.Integral | np.bool_) for kind in kinds) or _are_whole_decimals(values, missing):
        limit = _FLOAT64_WHOLE if any(missing) else _INT64_MAX
        kind = "beside a missing value, which turns the column into float64" if any(missing) else "in 64 signed bits"
        _refuse_where(array, what, lambda value: not is_missing(value) and abs(int(value)) > limit, f"whole numbers must fit {kind}")
        if not any(missing):
            return np.array([int(value) for value in values], np.int64).reshape(array.shape)
    beside = "whole numbers beside fractions must be exact in float64"
    _refuse_where(array, what, lambda value: not is_missing(value) and abs(value) > _FLOAT64_WHOLE and value != float(value), beside)
    return np.array([math.nan if gone else float(value) for value, gone in zip(values, missing, strict=True)]).reshape(array.shape)


def check_exact(n_missing: int, largest: int, what: str) -> None:
    """Refuse whole numbers that float64 does not hold, where missing values turn an integer column into one.

    Raises:
        ValueError: naming the largest number.
    """
    if n_missing and largest > _FLOAT64_WHOLE:
        raise ValueError(
            f"{what}: beside missing values whole numbers must be at most 2**53, since the column becomes float64; got {largest}. "
            "Fill the missing values, or re-encode the column from 0."
        )


def refuse_masked(values: Any, what: str) -> None:
    """Refuse a masked array with a masked value, whose content is arbitrary.

    Raises:
        ValueError: naming the first masked row.
    """
    mask = np.ma.getmaskarray(values)
    if mask.any():
        row = int(np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))[0])
        raise ValueError(f"{what}: the value at row {row} is masked. Fill masked values first, for example with values.filled(0).")


def to_native(array: Array) -> Array:
    """An array that torch can read: in the byte order of the machine, and without negative strides; copied only where it is not."""
    if array.dtype.byteorder not in "=|" and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array) if any(stride < 0 for stride in array.strides) else array


_ENCODE = "Encode them as ids 0, 1, 2, ... first, for example with numpy.unique(values, return_inverse=True)[1]."


def _is_number(kind: type) -> bool:
    return issubclass(kind, numbers.Real | decimal.Decimal | np.bool_)


def _are_whole_decimals(values: list[Any], missing: list[bool]) -> bool:
    """Whether all numbers are whole, and none is a float: decimals without a fraction, which float64 might round."""
    present = (value for value, gone in zip(values, missing, strict=True) if not gone)
    return all(isinstance(value, numbers.Integral) or (isinstance(value, decimal.Decimal) and value == int(value)) for value in present)


def _row(array: Array, position: int) -> int:
    return position // max(math.prod(array.shape[1:]), 1)


def _refuse_where(array: Array, what: str, is_bad: Callable[[Any], bool], must: str) -> None:
    for i, value in enumerate(array.ravel().tolist()):
        if is_bad(value):
            raise ValueError(f"{what}: {must}; got {value} at row {_row(array, i)}. Re-encode the column from 0.")
