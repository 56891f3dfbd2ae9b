"""The table of a report: each record, what was decided on it and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.report.curves import curve_names
from torch_rechub.report.records import Records
from torch_rechub.report.text import escape, format_value

__all__ = ["decisions_section", "decisions_table"]

MAX_ROWS = 120
NOTE = (
    "Patience counts the validations since the last improvement. An improvement must exceed min_delta; the best validation, whose weights "
    "are restored, is the one with the best finite value. A validation that is not counted leaves patience unchanged."
)


def decisions_section(history: Records) -> str:
    """The heading, the table and the note that explains it."""
    note = f'<p class="note muted">{NOTE}</p>' if _has_decisions(history) else ""
    title = "Decisions" if _has_decisions(history) else "Records"
    return f'<h2>{title}</h2><div class="card scroll">{decisions_table(history)}</div>{note}'


def decisions_table(history: Records) -> str:
    """A row a record: where it stands, what was decided and why, then the monitored metric, the others, the loss and the rate."""
    metrics = curve_names(history)
    head = _cells("th", ["record", "epoch", "step"])
    if _has_decisions(history):
        head += '<th class="word">decision</th><th>without improvement</th><th class="word">why</th>'
    head += _cells("th", [*metrics, "loss", "lr"])
    rows = "".join(_row(history, i, metrics) for i in _selected_rows(history))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _has_decisions(history: Records) -> bool:
    return any("verdict" in record for record in history)


def _cells(tag: str, values: Sequence[Any]) -> str:
    return "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values)


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


def _row(history: Records, i: int, metrics: Sequence[str]) -> str:
    if i < 0:
        n_column = 5 + len(metrics) + 3 * _has_decisions(history)
        return f'<tr><td class="gap" colspan="{n_column}">{-i:,} records without a new best are left out here</td></tr>'
    record = history[i]
    cells = _cells("td", [f"{value:,}" for value in (i + 1, record["epoch"], record["step"])])
    if _has_decisions(history):
        why = escape(record.get("verdict", "not decided"))
        cells += (
            f'<td class="word">{_badge(record)}</td><td>{format_value(record.get("trial_counter"))}</td><td class="word why">{why}</td>'
        )
    cells += "".join(f"<td>{_value(record.get(name))}</td>" for name in [*metrics, "loss", "lr"])
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
