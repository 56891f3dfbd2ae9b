"""The HTML page of a run: how it ended, its main figures, curves, decisions, settings and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.report.chart import Point, draw_chart
from torch_rechub.report.curves import curve_names
from torch_rechub.report.facts import Ending
from torch_rechub.report.records import Records
from torch_rechub.report.style import STYLE
from torch_rechub.report.text import escape, format_duration, format_number, format_value

__all__ = ["report_page"]

MAX_ROWS = 120
ENDING_WORDS = {"finished": "finished", "stopped": "stopped", "paused": "interrupted", "failed": "failed", "not run": "not run"}
NOTE = (
    "Patience counts the validations since the last improvement. An improvement must exceed min_delta; the best validation, whose weights "
    "are restored, is the one with the best finite value. A validation that is not counted leaves patience unchanged."
)


def report_page(history: Records, title: str, ending: Ending, settings: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """The page as text. It refers to no other file.

    Args:
        history: the records of the run; may be empty.
        title: the title of the page.
        ending: how the run ended and why.
        settings: setting -> value; all values are escaped.
        environment: fact -> value, as :func:`~torch_rechub.report.facts.environment` returns them.
    """
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
    )
    pill = f'<span class="pill {ending.kind.replace(" ", "-")}">{ENDING_WORDS[ending.kind]}</span>'
    parts = [f'<h1>{escape(title)}</h1><p class="ending">{pill}{escape(ending.reason)}</p>', _tiles(history)]
    if len(history):
        parts += [_charts(history, ending), _decisions(history)]
    parts += [_pairs("Settings", settings), _pairs("Environment", environment)]
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
        charts.append(draw_chart(title, _points(history, name), best_point, stopped_at))
    note = '<p class="note muted">A circle marks the best validation, whose weights were kept. A dashed line marks the stop.</p>'
    return f'<h2>Curves</h2><div class="charts{" two" if len(charts) in {2, 4} else ""}">{"".join(charts)}</div>{note}'


def _points(history: Records, name: str) -> list[Point]:
    numbers = ((record["step"], record.get(name)) for record in history)
    return [(float(step), float(value) if isinstance(value, int | float) else float("nan")) for step, value in numbers]


def _decisions(history: Records) -> str:
    metrics = curve_names(history)
    has_decisions = any("verdict" in record for record in history)
    names = ["record", "epoch", "step", "loss", "lr", *metrics]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    if has_decisions:
        head += '<th class="word">decision</th><th>without improvement</th><th class="word">why</th>'
    rows = "".join(_row(history, i, metrics, has_decisions, len(names)) for i in _selected_rows(history))
    note = f'<p class="note muted">{NOTE}</p>' if has_decisions else ""
    table = f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<h2>{'Decisions' if has_decisions else 'Records'}</h2>{table}{note}"


def _selected_rows(history: Records) -> list[int]:
    """The indices of the records in the table; -n stands for n records that are left out.

    A long run has the first and the last records, and the latest records that were the best so far.
    """
    n = len(history)
    if n <= MAX_ROWS:
        return list(range(n))
    bests = [i for i, record in enumerate(history) if record.get("is_best")]
    selected = sorted({*range(20), *bests[-40:], *range(n - 50, n)})
    rows: list[int] = []
    for previous, i in zip([-1, *selected], selected, strict=False):
        rows += [-(i - previous - 1), i] if i > previous + 1 else [i]
    return rows


def _row(history: Records, i: int, metrics: Sequence[str], has_decisions: bool, n_column: int) -> str:
    if i < 0:
        return f'<tr><td class="gap" colspan="{n_column + 3 * has_decisions}">{-i:,} records without a new best are left out here</td></tr>'
    record = history[i]
    values = [i + 1, record["epoch"], record["step"]]
    cells = "".join(f"<td>{value:,}</td>" for value in values)
    cells += "".join(f"<td>{_value(record.get(name))}</td>" for name in ["loss", "lr", *metrics])
    if has_decisions:
        why = escape(record.get("verdict", "not decided"))
        cells += (
            f'<td class="word">{_badge(record)}</td><td>{format_value(record.get("trial_counter"))}</td><td class="word why">{why}</td>'
        )
    return f"<tr{' class=top' if record is history.best else ''}>{cells}</tr>"


def _badge(record: Mapping[str, Any]) -> str:
    """The decision on a validation: whether it is the best so far, and whether it is an improvement for patience.

    The best validation so far is not always an improvement: its margin may be below ``min_delta``. A validation that patience does not
    count has a verdict that begins with "ignored".
    """
    if "verdict" not in record:
        return ""  # the run ended before the decision
    is_counted = not str(record["verdict"]).startswith("ignored")
    is_improvement = is_counted and record.get("trial_counter") == 0
    words = ["best so far"] if record.get("is_best") else ["improvement"] if is_improvement else []
    badges = [f'<span class="pill best">{word}</span>' for word in words]
    if not is_counted:
        badges.append('<span class="pill">not counted</span>')
    elif not is_improvement:
        badges.append('<span class="pill">no improvement</span>')
    return " ".join(badges)


def _value(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, int | float) else format_value(value)


def _pairs(title: str, facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{format_value(value)}</dd></div>" for name, value in facts.items())
    return f'<h2>{escape(title)}</h2><div class="card"><dl class="pairs">{pairs}</dl></div>'
