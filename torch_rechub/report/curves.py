"""Learning curves as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch_rechub.report.pictures import new_figure, use_fonts_with_all_characters
from torch_rechub.report.records import RECORD_FIELDS, Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # pyright: ignore[reportMissingImports]
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["circle_label", "curve_names", "draw_history"]

#: Fields of a record that are drawn as metrics are. ``monitored`` is the value of a monitor of several metrics.
_DRAWN = {"monitored", "lr_embedding", "lr_dense", "memory_gb", "gpu_memory_gb"}
_NOT_METRICS = set(RECORD_FIELDS) - _DRAWN


def curve_names(history: Records) -> list[str]:
    """The metrics of the last record, the monitored one first. Loss and learning rate are not included."""
    names = [name for name, value in history[-1].items() if name not in _NOT_METRICS and isinstance(value, float)]
    return sorted(names, key=lambda name: name != history.monitor)


def draw_history(history: Records) -> Figure:
    """Draw metrics, training loss and, if it changed, the learning rate.

    The lower axis counts optimizer steps, the upper one epochs. A circle marks the best validation, that of the monitored metric, in the
    curves of all metrics; its legend says so. A dashed line marks the stop.

    Raises:
        ValueError: when there is no record.
        ImportError: when matplotlib is not installed.
    """
    if not len(history):
        raise ValueError("The history is empty: there is nothing to draw before the first record.")
    names = [*curve_names(history), "loss"] + (["lr"] if len(set(history["lr"])) > 1 else [])
    figure = new_figure("history.plot()", figsize=(4.2 * len(names), 3.6))
    panels: Any = figure.subplots(1, len(names), squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        _draw_curve(axes, history, name)
    if history.stop_reason:
        figure.suptitle(f"stopped: {history.stop_reason}", fontsize=10)
    use_fonts_with_all_characters(figure)
    return figure


def _draw_curve(axes: Axes, history: Records, name: str) -> None:
    titles = {"loss": "training loss", "lr": "learning rate"}
    axes.plot(history["step"], history[name], marker=".", color="#4c72b0", linewidth=1.5)
    axes.set_title(titles.get(name, f"validation {name}"), fontsize=11)
    axes.set_xlabel("optimizer step")
    axes.grid(alpha=0.25)
    _mark_epochs(axes, history)
    best = history.best
    if best is not None and name in best and name not in titles:
        label = circle_label(history, name)
        axes.plot([best["step"]], [best[name]], "o", markersize=11, fillstyle="none", color="#c44e52", label=label)
        axes.legend(fontsize=9)
    if history.stop_reason:
        axes.axvline(history[-1]["step"], color="#555555", linestyle="--", linewidth=1)


def _mark_epochs(axes: Axes, history: Records) -> None:
    """A second axis above the curve, with a mark where each epoch ended."""
    ends = history.epoch_ends()
    top: Any = axes.secondary_xaxis("top")
    top.set_xticks([step for _, step in ends], labels=[str(epoch) for epoch, _ in ends])
    top.set_xlabel("epoch", fontsize=9)
    top.tick_params(labelsize=8)


def circle_label(history: Records, name: str) -> str:
    """What the circle in the curve of the metric ``name`` marks: the best validation is that of the monitored metric in every curve.

    Example:
        >>> records = Records(monitor="auc")
        >>> records.append({"epoch": 2, "step": 10, "auc": 0.71, "logloss": 0.6, "is_best": True})
        >>> circle_label(records, "auc"), circle_label(records, "logloss")
        ('best auc: 0.7100, epoch 2', 'at the best auc: 0.6000')
    """
    best = history.best
    assert best is not None
    if name == history.monitor:
        return f"best {name}: {best[name]:.4f}, epoch {best['epoch']}"
    return f"at the best {history.monitor}: {best[name]:.4f}"
