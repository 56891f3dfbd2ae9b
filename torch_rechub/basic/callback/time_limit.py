"""A limit on the wall time of a run, with time reserved to save."""

from __future__ import annotations

import math
import re
import time
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.storage import REAL, check_shape

__all__ = ["TimeLimit"]

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


@named_arguments
class TimeLimit(Callback):
    """Ends a run before a wall time is over, where it can be resumed by ``fit(..., resume="auto")``.

    The run ends at the first optimizer step after which there would not be time for a validation and a save as long as the longest so far,
    another step as long as the last, and ``margin``. Time counts from the beginning of this ``fit``: a resumed run has a new limit. With
    ``total=True`` the earlier parts of a resumed run count as well.

    Args:
        limit: seconds, or words as "2h30m", "90s", "1d 12h".
        margin: likewise; time reserved for the last save.
        total: count the earlier parts of a resumed run.

    Raises:
        ValueError: when a time cannot be read, or ``margin`` is not below ``limit``.

    Example:
        >>> TimeLimit("2h30m", margin="5m")
        TimeLimit(limit=9000.0, margin=300.0)
    """

    free_settings = frozenset({"limit", "margin", "total"})

    def __init__(self, limit: float | str, *, margin: float | str = 30.0, total: bool = False) -> None:
        self.limit, self.margin, self.total = _seconds("limit", limit), _seconds("margin", margin), total
        if not self.limit > self.margin:
            raise ValueError(f"TimeLimit: margin must be below limit; got margin={margin!r}, limit={limit!r}. Give margin=0 for none.")
        self._began = self._mark = time.monotonic()
        self._earlier = self._longest_validation = self._longest_save = self._used = 0.0

    @property
    def seconds(self) -> float:
        """Seconds used of the limit."""
        return time.monotonic() - self._began + (self._earlier if self.total else 0.0)

    def on_fit_begin(self, trainer: Training) -> None:
        self._began = self._mark = time.monotonic()
        self._earlier = self._longest_validation = self._longest_save = self._used = 0.0

    def on_batch_end(self, trainer: Training) -> None:
        needed = self.margin + self._longest_validation + self._longest_save + self._lap()
        if trainer.state.stepped and self.seconds + needed >= self.limit:
            trainer.request_pause(f"the time limit of {_words(self.limit)} is near")

    def on_validation_begin(self, trainer: Training) -> None:
        self._mark = time.monotonic()

    def on_record(self, trainer: Training) -> None:
        if trainer.validates:
            self._longest_validation = max(self._longest_validation, self._lap())

    def on_save(self, trainer: Training) -> None:
        self._longest_save = max(self._longest_save, self._lap())

    def _lap(self) -> float:
        """The time since the last call."""
        before, self._mark = self._mark, time.monotonic()
        self._used = self._mark - self._began + self._earlier
        return self._mark - before

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._used, "longest_validation": self._longest_validation, "longest_save": self._longest_save}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_shape(state, {"seconds": REAL, "longest_validation": REAL, "longest_save": REAL})
        self._earlier = self._used = state["seconds"]
        self._longest_validation, self._longest_save = state["longest_validation"], state["longest_save"]
        self._began = time.monotonic()

    def __repr__(self) -> str:
        return f"TimeLimit(limit={self.limit}, margin={self.margin})"


def _seconds(name: str, given: float | str) -> float:
    """A time in seconds."""
    shown = given
    if isinstance(given, str):
        parts = re.findall(r"([\d.]+)\s*([dhms])", given.lower())
        complete = re.fullmatch(r"\s*(?:\d+(?:\.\d+)?\s*[dhms]\s*)+", given.lower())
        given = sum(float(number) * _UNITS[unit] for number, unit in parts) if complete else math.nan
    if isinstance(given, bool) or not (given >= 0 and math.isfinite(given)):
        raise ValueError(f"TimeLimit: {name} must be seconds >= 0, or words such as '2h30m' or '90s'; got {shown!r}.")
    return float(given)


def _words(seconds: float) -> str:
    """A time as a person writes it: 9000 -> 2h30m."""
    words, left = "", seconds
    for unit, size in _UNITS.items():
        n, left = (left, 0.0) if unit == "s" else divmod(left, size)
        words += f"{n:g}{unit}" if n else ""
    return words or "0s"
