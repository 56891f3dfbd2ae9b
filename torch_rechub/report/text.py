"""Formatting of numbers and text for the report. All text of a run is escaped."""

from __future__ import annotations

import html
import math
from typing import Any

__all__ = ["escape", "format_duration", "format_number", "format_value"]


def escape(value: Any) -> str:
    """Text as HTML that a browser shows literally; control characters are replaced.

    Example:
        >>> escape("<b title='x'>" + chr(0))
        '&lt;b title=&#x27;x&#x27;&gt;\\ufffd'
    """
    text = str(value).encode("utf-8", "replace").decode()
    return html.escape("".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text))


def format_number(value: float) -> str:
    """A number with four significant digits, large numbers with a unit.

    Example:
        >>> [format_number(value) for value in (0.71234567, 12000, 2.5e6, 0.0, 1e-5, float("nan"))]
        ['0.7123', '12k', '2.5M', '0', '1e-05', 'nan']
    """
    if not math.isfinite(value):
        return str(value)
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.4g}{unit}"
    return f"{value:.4g}"


def format_value(value: Any) -> str:
    """A setting or a fact, escaped.

    Example:
        >>> [format_value(value) for value in (None, 1234567, 0.001, True, "<x>")]
        ['–', '1,234,567', '0.001', 'yes', '&lt;x&gt;']
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else escape(value)


def format_duration(seconds: float) -> str:
    """An elapsed time with units.

    Example:
        >>> [format_duration(seconds) for seconds in (0.25, 75, 7260)]
        ['0.2 s', '1 min 15 s', '2 h 1 min']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
