"""Learning curves as a picture, by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch_rechub.report.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["curve_names", "draw_history"]

#: Columns of a record that are no curve.
_NO_CURVE = {"epoch", "step", "rows", "seconds", "loss", "lr", "is_best", "trial_counter", "verdict"}


def curve_names(history: Records) -> list[str]:
    """The columns that are curves beside loss and learning rate: the numbers of the last record, the monitored one first."""
    names = [name for name, value in history[-1].items() if name not in _NO_CURVE and isinstance(value, float)]
    return sorted(names, key=lambda name: name != history.monitor)


def draw_history(history: Records) -> Figure:
    """Metrics, training loss and, if it changed, the learning rate, by optimizer step; a circle at the best check, a line at the stop."""
    if not len(history):
        raise ValueError("The history is empty: there is nothing to draw before the first check.")
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
            [best["step"]], [best[name]], "o", markersize=11, fillstyle="none", color="#c44e52", label=f"best check: {best[name]:.4f}"
        )
        axes.legend(fontsize=9)
    if history.stop_reason:
        axes.axvline(history[-1]["step"], color="#555555", linestyle="--", linewidth=1)
