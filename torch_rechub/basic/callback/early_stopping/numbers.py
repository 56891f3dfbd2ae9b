"""Numbers that callers give, read strictly."""

from __future__ import annotations

import math
import operator
from typing import Any

__all__ = ["finite", "number", "whole_number"]


def number(value: Any, name: str = "the monitored value") -> float:
    """One number, of whatever kind.

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
    found = number(value, name)
    if not math.isfinite(found):
        raise ValueError(f"EarlyStopper: {name} must be finite; got {value!r}.")
    return found


def whole_number(name: str, value: Any, least: int, instead: str = "") -> int:
    """An integer of at least ``least``; a bool is none.

    Raises:
        TypeError, ValueError: naming what came, and what else there is.
    """
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"EarlyStopper: {name} must be an integer >= {least}; got {value!r}.{instead}") from None
    if isinstance(value, bool) or found < least:
        raise ValueError(f"EarlyStopper: {name} must be an integer >= {least}; got {value!r}.{instead}")
    return found
