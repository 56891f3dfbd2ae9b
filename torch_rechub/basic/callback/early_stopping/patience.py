"""How long to wait for an improvement: counted in validations, in epochs or in rows trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch_rechub.arguments import whole_number
from torch_rechub.basic.callback.state import TrainerState

__all__ = ["Patience", "Position"]

_WORDS = re.compile(r"\s*(\d[\d_]*)\s*(validation|check|epoch|row)s?\s*")
_IN_WORDS = " In words it is a whole number and a unit: '3 validations', '2 epochs' or '5_000_000 rows'."


class Position(NamedTuple):
    """Where a run is: epochs finished, batches trained on in the present one, rows trained on so far."""

    epoch: int = 0
    batch: int = 0
    rows: int = 0

    @classmethod
    def of(cls, state: TrainerState) -> Position:
        """The position of a trainer's run; the end of an epoch is the beginning of the next."""
        at_end = state.epoch_done or state.batch == state.n_batch
        return cls(state.epoch + at_end, 0 if at_end else state.batch, state.rows)


@dataclass(frozen=True)
class Patience:
    """A whole number of validations, epochs or rows.

    Args:
        amount: at least 1; None never runs out.
        unit: what is counted.

    Example:
        >>> Patience.read("5_000_000 rows")
        Patience(amount=5000000, unit='row')
        >>> Patience.read("2 epochs").is_over(n_validation=1, since=Position(1, 10, 40), now=Position(3, 10, 120))
        True
    """

    amount: int | None
    unit: Literal["validation", "epoch", "row"]

    @classmethod
    def read(cls, given: Any) -> Patience:
        """Patience as a caller gives it: an integer counts validations, None never runs out. "check" means validation, too.

        Raises:
            TypeError: when it is neither an integer nor words nor None.
            ValueError: when it is below 1 or cannot be understood.
        """
        if given is None:
            return cls(None, "validation")
        if not isinstance(given, str) or given.strip().isdigit():
            return cls(whole_number("EarlyStopper: patience", given, 1, _IN_WORDS, wrong_type=TypeError), "validation")
        match = _WORDS.fullmatch(given)
        amount = 0 if match is None else int(match[1].replace("_", ""))
        if match is None or amount < 1:
            raise ValueError(f"EarlyStopper: patience must be an integer >= 1, or that many of a unit; got {given!r}.{_IN_WORDS}")
        unit: Any = "validation" if match[2] == "check" else match[2]
        return cls(amount, unit)

    def is_over(self, n_validation: int, since: Position, now: Position) -> bool:
        """Whether patience has run out.

        Args:
            n_validation: validations in a row without an improvement.
            since: the position of the last improvement, or where counting began.
            now: the position of the present validation. Two epochs after a validation within an epoch is the same batch of the second
                epoch after it.
        """
        if self.amount is None:
            return False
        if self.unit == "validation":
            return n_validation >= self.amount
        if self.unit == "row":
            return now.rows - since.rows >= self.amount
        return (now.epoch - self.amount, now.batch) >= (since.epoch, since.batch)

    def passed(self, n_validation: int) -> str:
        """What passed without an improvement, in words."""
        counted = f"{n_validation} validation{'s' * (n_validation > 1)}"
        return counted if self.unit == "validation" else f"{self.amount} {self.unit}{'s' * ((self.amount or 0) > 1)}, {counted}"
