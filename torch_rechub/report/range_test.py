"""The picture of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch_rechub.report.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["draw_range_test", "loss_range"]


def draw_range_test(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None, least: float
) -> Figure:
    """Draw the loss over the rate, with lines at the suggestion and at the smallest smoothed loss.

    The vertical axis covers the smoothed loss up to its minimum. What diverges afterwards leaves the picture, since it would flatten the
    part that matters.

    Raises:
        ImportError: when matplotlib is not installed.
    """
    figure = new_figure("LearningRateFinding.plot()", figsize=(5.6, 3.6))
    axes: Any = figure.subplots()
    axes.plot(rates, losses, color="#bbbbbb", linewidth=1, label="each step")
    axes.plot(rates, smoothed, color="#4c72b0", linewidth=1.8, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color="#c44e52", linestyle="--", label=f"suggestion {suggestion:.2g}: falls fastest")
    axes.axvline(least, color="#777777", linestyle=":", label=f"smallest loss at {least:.2g}")
    axes.set_xscale("log")
    axes.set_ylim(*loss_range(smoothed, rates.index(least)))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="lower left")
    return figure


def loss_range(smoothed: Sequence[float], least: int) -> tuple[float, float]:
    """The limits of the vertical axis: the smoothed loss up to its minimum, number ``least``, with margins.

    Example:
        >>> [round(limit, 2) for limit in loss_range([0.7, 0.6, 0.5, 4.0, float("inf")], least=2)]
        [0.46, 0.74]
    """
    low, high = smoothed[least], max(smoothed[: least + 1])
    margin = 0.2 * max(high - low, 0.05 * abs(low), 1e-12)
    return low - margin, high + margin
