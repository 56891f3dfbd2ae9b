"""How long to wait for an improvement: counted in checks, in epochs or in rows trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch_rechub.basic.callback.early_stopping.numbers import whole_number

if TYPE_CHECKING:
    from torch_rechub.basic.callback.state import TrainerState

__all__ = ["Patience", "Place"]

_WORDS = re.compile(r"\s*(\d[\d_]*)\s*(check|epoch|row)s?\s*")
_IN_WORDS = " In words it is a whole number and a unit: '3 checks', '2 epochs' or '5_000_000 rows'."


class Place(NamedTuple):
    """Where in a run a check was: epochs finished, batches read in the present one, rows trained on so far."""

    epoch: int = 0
    batch: int = 0
    rows: int = 0

    @classmethod
    def of(cls, state: TrainerState) -> Place:
        """The place that a trainer's run is at; the end of an epoch is the beginning of the next."""
        at_end = state.batch == state.n_batch
        return cls(state.epoch + at_end, 0 if at_end else state.batch, state.rows)


@dataclass(frozen=True)
class Patience:
    """A whole number of checks, epochs or rows.

    Args:
        amount: at least 1.
        unit: what is counted.

    Example:
        >>> Patience.read("5_000_000 rows")
        Patience(amount=5000000, unit='row')
        >>> Patience.read("2 epochs").over(checks=1, since=Place(1, 10, 40), now=Place(3, 10, 120))
        True
    """

    amount: int
    unit: Literal["check", "epoch", "row"]

    @classmethod
    def read(cls, given: Any) -> Patience:
        """Patience as a caller gives it: an integer counts checks.

        Raises:
            TypeError: when it is neither an integer nor words.
            ValueError: when it is below 1 or cannot be understood.
        """
        if not isinstance(given, str) or given.strip().isdigit():
            return cls(whole_number("patience", given, least=1, instead=_IN_WORDS), "check")
        found = _WORDS.fullmatch(given)
        amount = 0 if found is None else int(found[1].replace("_", ""))
        if found is None or amount < 1:
            raise ValueError(f"EarlyStopper: patience must be an integer >= 1, or that many of a unit; got {given!r}.{_IN_WORDS}")
        return cls(amount, found[2])  # type: ignore[arg-type]

    def over(self, checks: int, since: Place, now: Place) -> bool:
        """Whether it has run out.

        Args:
            checks: checks in a row without an improvement.
            since: the place of the last improvement, or where counting began.
            now: the present check's place. Two epochs after a check amid an epoch is the same batch of the second epoch after it.
        """
        if self.unit == "check":
            return checks >= self.amount
        if self.unit == "row":
            return now.rows - since.rows >= self.amount
        return (now.epoch - self.amount, now.batch) >= (since.epoch, since.batch)

    def spent(self, checks: int) -> str:
        """What passed without an improvement, in words."""
        counted = f"{checks} checks"
        return counted if self.unit == "check" else f"{self.amount} {self.unit}{'s' * (self.amount > 1)}, {counted}"
