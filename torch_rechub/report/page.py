"""The HTML page of a run: how it ended, its main figures, curves, decisions, settings and environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_rechub.report.chart import Point, draw_chart
from torch_rechub.report.curves import curve_names
from torch_rechub.report.decisions import decisions_section
from torch_rechub.report.facts import Ending
from torch_rechub.report.records import Records
from torch_rechub.report.style import STYLE
from torch_rechub.report.text import escape, format_duration, format_number, format_value

__all__ = ["report_page"]

ENDING_WORDS = {"finished": "finished", "stopped": "stopped", "paused": "interrupted", "failed": "failed", "not run": "not run"}


def report_page(history: Records, title: str, ending: Ending, sections: Mapping[str, Mapping[str, Any] | str]) -> str:
    """The page as text. It refers to no other file.

    Args:
        history: the records of the run; may be empty.
        title: the title of the page.
        ending: how the run ended and why.
        sections: title -> facts by name, or a text that is shown when it is clicked on; all values are escaped. An empty one is left out.
    """
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
    )
    pill = f'<span class="pill {ending.kind.replace(" ", "-")}">{ENDING_WORDS[ending.kind]}</span>'
    parts = [f'<h1>{escape(title)}</h1><p class="ending">{pill}{escape(ending.reason)}</p>', _tiles(history)]
    if len(history):
        parts += [_charts(history, ending), decisions_section(history)]
    parts += [_section(name, content) for name, content in sections.items()]
    return f"{head}<body><main>{''.join(parts)}</main></body></html>\n"


def _tiles(history: Records) -> str:
    if not len(history):
        return f'<div class="tiles">{_tile("0", "validations: the run ended before the first one")}</div>'
    best, last, name = history.best, history[-1], history.monitor
    tiles: list[tuple[str, str]] = []
    if best and name in best:
        tiles.append((format_number(best[name]), f"best {escape(name)}, epoch {best['epoch']}, step {best['step']:,}"))
    tiles += [(str(last["epoch"]), "last epoch"), (f"{last['step']:,}", "optimizer steps at the last record")]
    tiles += [
        (format_number(last["rows"]), "rows trained on"),
        (format_duration(last["seconds"]), "elapsed"),
        (str(len(history)), "records"),
    ]
    return f'<div class="tiles">{"".join(_tile(value, label) for value, label in tiles)}</div>'


def _tile(value: str, label: str) -> str:
    return f'<div class="card"><b>{value}</b><span class="muted">{label}</span></div>'


def _charts(history: Records, ending: Ending) -> str:
    best, metrics = history.best, curve_names(history)
    stopped_at = float(history[-1]["step"]) if ending.kind in {"stopped", "failed"} else None
    charts: list[str] = []
    for name in [*metrics, "loss"] + (["lr"] if len(set(history["lr"])) > 1 else []):
        title = {"loss": "training loss", "lr": "learning rate"}.get(name, f"validation {name}")
        best_point = (float(best["step"]), float(best[name])) if best and name in best and name in metrics else None
        position = "best" if name == history.monitor else f"at the best {history.monitor}"
        charts.append(draw_chart(title, _points(history, name), best_point, stopped_at, history.epoch_ends(), position))
    note = f'<p class="note muted">{_charts_note(history)}</p>'
    return f'<h2>Curves</h2><div class="charts{" two" if len(charts) in {2, 4} else ""}">{"".join(charts)}</div>{note}'


def _charts_note(history: Records) -> str:
    marks = "Numbers above a curve count epochs. A dashed line marks the stop."
    if history.best is None:
        return marks
    where, monitor = f"step {history.best['step']:,}", escape(history.monitor)
    return (
        f"In every curve the circle is at {where}: there {monitor}, the monitored metric, was best, and its weights were kept. "
        f"Another metric may have its own best elsewhere. {marks}"
    )


def _points(history: Records, name: str) -> list[Point]:
    numbers = ((record["step"], record.get(name)) for record in history)
    return [(float(step), float(value) if isinstance(value, int | float) else float("nan")) for step, value in numbers]


def _section(title: str, content: Mapping[str, Any] | str) -> str:
    if not content:
        return ""
    if isinstance(content, str):
        return f'<details><summary>{escape(title)}</summary><pre class="card">{escape(content)}</pre></details>'
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{format_value(value)}</dd></div>" for name, value in content.items())
    return f'<h2>{escape(title)}</h2><div class="card"><dl class="pairs">{pairs}</dl></div>'
