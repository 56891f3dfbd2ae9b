"""The page: what a run was, in the order in which a person asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.report.chart import Point, draw_chart
from torch_rechub.report.curves import curve_names
from torch_rechub.report.facts import Ending
from torch_rechub.report.records import Records
from torch_rechub.report.style import STYLE
from torch_rechub.report.text import duration, escape, number, shown

__all__ = ["report_page"]

MOST_ROWS = 120
WORDS = {"finished": "finished", "stopped": "stopped", "paused": "interrupted", "failed": "broken off", "not run": "not run"}
NOTE = (
    "An improvement moves what patience counts from; the best is the best finite value, whatever its margin: the model keeps its weights."
)


def report_page(history: Records, title: str, ending: Ending, settings: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """The whole document as text, with no reference to anything outside it.

    Args:
        history: of the run; may be empty.
        title: what ran.
        ending: how it ended and why.
        settings: name to value; every value is shown escaped.
        environment: likewise.
    """
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
    )
    pill = f'<span class="pill {ending.kind.replace(" ", "-")}">{WORDS[ending.kind]}</span>'
    parts = [f'<h1>{escape(title)}</h1><p class="ending">{pill}{escape(ending.reason)}</p>', _tiles(history)]
    if len(history):
        parts += [_charts(history, ending), _decisions(history)]
    parts += [_pairs("Settings", settings), _pairs("Environment", environment)]
    return f"{head}<body><main>{''.join(parts)}</main></body></html>\n"


def _tiles(history: Records) -> str:
    if not len(history):
        return (
            '<div class="tiles"><div class="card"><b>0</b><span class="muted">checks: the run ended before the first one</span></div></div>'
        )
    best, last, name = history.best, history[-1], history.monitor
    tiles = [(number(best[name]), f"best {escape(name)}, epoch {best['epoch']}, step {best['step']:,}")] if best and name in best else []
    tiles += [(str(last["epoch"]), "last epoch"), (f"{last['step']:,}", "optimizer steps at the last check")]
    tiles += [(number(last["rows"]), "rows trained on"), (duration(last["seconds"]), "elapsed"), (str(len(history)), "records")]
    return f'<div class="tiles">{"".join(_tile(value, label) for value, label in tiles)}</div>'


def _tile(value: str, label: str) -> str:
    return f'<div class="card"><b>{value}</b><span class="muted">{label}</span></div>'


def _charts(history: Records, ending: Ending) -> str:
    best, metrics = history.best, curve_names(history)
    stopped_at = float(history[-1]["step"]) if ending.kind in {"stopped", "failed"} else None
    drawn: list[str] = []
    for name in [*metrics, "loss"] + (["lr"] if len(set(history["lr"])) > 1 else []):
        title = {"loss": "training loss", "lr": "learning rate"}.get(name, f"validation {name}")
        at = (float(best["step"]), float(best[name])) if best and name in best and name in metrics else None
        drawn.append(draw_chart(title, _points(history, name), at, stopped_at))
    note = '<p class="note muted">A circle marks the check whose weights were kept; a dashed line, the stop.</p>'
    return f'<h2>Curves</h2><div class="charts{" two" if len(drawn) in {2, 4} else ""}">{"".join(drawn)}</div>{note}'


def _points(history: Records, name: str) -> list[Point]:
    numbers = ((record["step"], record.get(name)) for record in history)
    return [(float(step), float(value) if isinstance(value, int | float) else float("nan")) for step, value in numbers]


def _decisions(history: Records) -> str:
    metrics = curve_names(history)
    judged = any("verdict" in record for record in history)
    names = ["record", "epoch", "step", "loss", "lr", *metrics]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    if judged:
        head += '<th class="word">decision</th><th>in a row without</th><th class="word">why</th>'
    rows = "".join(_row(history, i, metrics, judged, len(names)) for i in _chosen(history))
    note = f'<p class="note muted">{NOTE}</p>' if judged else ""
    table = f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<h2>{'Decisions' if judged else 'Records'}</h2>{table}{note}"


def _chosen(history: Records) -> list[int]:
    """Which records the table has: all, or in a long run the first, the latest bests and the last, with -n for n left out."""
    n = len(history)
    if n <= MOST_ROWS:
        return list(range(n))
    bests = [i for i, record in enumerate(history) if record.get("is_best")]
    keep = sorted({*range(20), *bests[-40:], *range(n - 50, n)})
    chosen: list[int] = []
    for before, i in zip([-1, *keep], keep, strict=False):
        chosen += [-(i - before - 1), i] if i > before + 1 else [i]
    return chosen


def _row(history: Records, i: int, metrics: Sequence[str], judged: bool, n_column: int) -> str:
    if i < 0:
        return f'<tr><td class="gap" colspan="{n_column + 3 * judged}">{-i:,} records without a new best are left out here</td></tr>'
    record = history[i]
    values = [i + 1, record["epoch"], record["step"]]
    cells = "".join(f"<td>{value:,}</td>" for value in values)
    cells += "".join(f"<td>{_value(record.get(name))}</td>" for name in ["loss", "lr", *metrics])
    if judged:
        why = escape(record.get("verdict", "not decided"))
        cells += f'<td class="word">{_badge(record)}</td><td>{shown(record.get("trial_counter"))}</td><td class="word why">{why}</td>'
    return f"<tr{' class=top' if record is history.best else ''}>{cells}</tr>"


def _badge(record: Mapping[str, Any]) -> str:
    """Whether the check is the best so far, and whether patience counts from it: a best one may be too small an improvement to count."""
    counts = record.get("trial_counter") == 0 and not str(record.get("verdict")).startswith("ignored")
    words = ["best so far"] if record.get("is_best") else ["improvement"] if counts else []
    badges = [f'<span class="pill best">{word}</span>' for word in words]
    return " ".join([*badges, *([] if counts else ['<span class="pill">not counted</span>'])])


def _value(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, int | float) else shown(value)


def _pairs(title: str, facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{shown(value)}</dd></div>" for name, value in facts.items())
    return f'<h2>{escape(title)}</h2><div class="card"><dl class="pairs">{pairs}</dl></div>'
