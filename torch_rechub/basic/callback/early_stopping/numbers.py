"""Conversion of the numbers that callers give."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["finite", "number"]


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
