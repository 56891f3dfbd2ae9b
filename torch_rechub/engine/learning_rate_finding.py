"""The result of a learning-rate range test: its losses, the suggested rate, and a picture of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch_rechub.arguments import named_arguments
from torch_rechub.report import draw_range_test, readable_text
from torch_rechub.storage import write_figure
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["LearningRateFinding"]


@named_arguments
@dataclass(frozen=True)
class LearningRateFinding:
    """The result of :func:`find_learning_rate`. Its text and ``plot`` show the suggestion.

    Attributes:
        rates: the rate of each step.
        losses: the training loss of each step's batches, before it moved the weights.
        smoothed: their exponential mean, corrected for its beginning.
        suggestion: where the smoothed loss falls fastest over log(rate); None where it never falls.
        least: the rate of the smallest smoothed loss; a tenth of it is another common choice.
        diverged_at: the rate at which the search ended because the loss had grown fourfold or was not finite; None otherwise.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    least: float
    diverged_at: float | None

    def __repr__(self) -> str:
        suggestion = "no suggestion: the loss does not fall" if self.suggestion is None else f"suggestion {self.suggestion:.2g}"
        end = "" if self.diverged_at is None else f", diverged at {self.diverged_at:.2g}"
        tested = f"{len(self.rates)} steps from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        return f"LearningRateFinding({suggestion}, smallest loss at {self.least:.2g}{end}; {tested})"

    def plot(self, path: FilePath | None = None) -> Figure:
        """Draw the loss over the rate, with the suggestion and the smallest loss marked. A diverging tail is cut off.

        Args:
            path: a file to write as well; its suffix chooses the format (.svg, .png, .pdf).

        Raises:
            ImportError: when matplotlib is not installed.
        """
        figure = draw_range_test(self.rates, self.losses, self.smoothed, self.suggestion, self.least)
        if path is not None:
            with readable_text(figure, path):
                write_figure(path, figure)
        return figure
