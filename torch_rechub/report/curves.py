"""Learning curves as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch_rechub.report.records import RECORD_FIELDS, Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["curve_names", "draw_history"]

#: Fields of a record that are not drawn as metrics. ``monitored`` is the value of a monitor of several metrics, and is drawn.
_NOT_METRICS = set(RECORD_FIELDS) - {"monitored"}


def curve_names(history: Records) -> list[str]:
    """The metrics of the last record, the monitored one first. Loss and learning rate are not included."""
    names = [name for name, value in history[-1].items() if name not in _NOT_METRICS and isinstance(value, float)]
    return sorted(names, key=lambda name: name != history.monitor)


def draw_history(history: Records) -> Figure:
    """Draw metrics, training loss and, if it changed, the learning rate. A circle marks the best validation, a line the stop."""
    if not len(history):
        raise ValueError("The history is empty: there is nothing to draw before the first record.")
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("history.plot() needs matplotlib: pip install torch-rechub[plot]") from error
    names = [*curve_names(history), "loss"] + (["lr"] if len(set(history["lr"])) > 1 else [])
    figure = Figure(figsize=(4.2 * len(names), 3.4), layout="constrained")
    panels: Any = figure.subplots(1, len(names), squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        _draw_curve(axes, history, name)
    if history.stop_reason:
        figure.suptitle(f"stopped: {history.stop_reason}", fontsize=10)
    return figure


def _draw_curve(axes: Axes, history: Records, name: str) -> None:
    titles = {"loss": "training loss", "lr": "learning rate"}
    axes.plot(history["step"], history[name], marker=".", color="#4c72b0", linewidth=1.5)
    axes.set_title(titles.get(name, f"validation {name}"), fontsize=11)
    axes.set_xlabel("optimizer step")
    axes.grid(alpha=0.25)
    best = history.best
    if best is not None and name in best and name not in titles:
        axes.plot(
            [best["step"]], [best[name]], "o", markersize=11, fillstyle="none", color="#c44e52", label=f"best validation: {best[name]:.4f}"
        )
        axes.legend(fontsize=9)
    if history.stop_reason:
        axes.axvline(history[-1]["step"], color="#555555", linestyle="--", linewidth=1)
