"""Conversion of the numbers that callers give."""

from __future__ import annotations

import math
import operator
from typing import Any

__all__ = ["finite", "number", "whole_number"]


def number(value: Any, name: str = "the monitored value") -> float:
    """One number of any numeric type.

    Raises:
        TypeError: naming what came.
    """
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"EarlyStopper: {name} must be one number; got {value!r}.") from error


def finite(name: str, value: Any) -> float:
    """One finite number.

    Raises:
        TypeError, ValueError: naming what came.
    """
    converted = number(value, name)
    if not math.isfinite(converted):
        raise ValueError(f"EarlyStopper: {name} must be finite; got {value!r}.")
    return converted


def whole_number(name: str, value: Any, least: int, instead: str = "") -> int:
    """An integer of at least ``least``; a bool is refused.

    Raises:
        TypeError, ValueError: naming what came, and the alternatives.
    """
    try:
        integer = operator.index(value)
    except TypeError:
        raise TypeError(f"EarlyStopper: {name} must be an integer >= {least}; got {value!r}.{instead}") from None
    if isinstance(value, bool) or integer < least:
        raise ValueError(f"EarlyStopper: {name} must be an integer >= {least}; got {value!r}.{instead}")
    return integer
