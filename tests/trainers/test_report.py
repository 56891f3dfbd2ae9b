"""The report of a run: one HTML file, for every way in which a run can end."""

from __future__ import annotations

import html.parser
import math
import re

import pytest
import zoo
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic.callback import Callback, EarlyStopper, Report
from torch_rechub.report import Ending, report_page
from torch_rechub.report.chart import draw_chart, thin_points, ticks
from torch_rechub.report.text import escape
from torch_rechub.trainers import History

OPEN_ENDED = {"meta", "link", "img", "br"}


class Reader(html.parser.HTMLParser):
    """Parses a page, and fails if a tag is not closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open, self.attributes = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in OPEN_ENDED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


class RaisesInEpochEnd(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, trainer):
        if trainer.state.epoch == 1:
            raise self.error


def scripted(values, tmp_path, **options):
    trainer = zoo.trainer(**{"n_epoch": len(values), "model_path": tmp_path, "callbacks": [Report()], **options})
    trainer.evaluate_fn = zoo.Scripted(values)
    return trainer


def rows_of(page):
    return re.findall(r"<tr[^>]*>(?!<th).*?</tr>", page)


def history_of(values):
    history = History("auc")
    best = -math.inf
    for i, value in enumerate(values, 1):
        better = math.isfinite(value) and value > best
        best = value if better else best
        facts = {"epoch": i, "step": 10 * i, "rows": 100 * i, "seconds": 0.5 * i, "loss": 1.0 / i, "lr": 0.001, "auc": value}
        history.append({**facts, "is_best": better, "trial_counter": 0 if better else 1, "verdict": "better" if better else "not better"})
    return history


def test_report_tells_every_decision(tmp_path):
    """The page has each validation with its values, decision and reason, then settings, environment and the reason of the stop."""
    trainer = scripted([0.5, 0.7, math.nan, 0.6], tmp_path, earlystop_patience=2, n_epoch=9)
    trainer.fit(*zoo.loaders())
    page = (tmp_path / "report.html").read_text()
    rows, text = rows_of(page), Reader(page).text
    assert ["best so far" in row for row in rows] == [True, True, False, False]
    assert ["no improvement" in row for row in rows] == [False, False, True, True]
    assert not any("not counted" in row for row in rows)
    assert all(record["verdict"] in row for record, row in zip(trainer.history, rows, strict=True))
    for word in (
        trainer.monitor,
        "stopped",
        trainer.history.stop_reason,
        "DeepFM",
        "n_epoch",
        "torch",
        "numpy",
        "python",
        "threads",
        "kernels",
    ):
        assert word in text, word


def test_report_needs_nothing_from_outside(tmp_path):
    """The page is one small file without scripts, links or external sources, for light and dark mode and for small screens."""
    scripted([0.5, 0.7], tmp_path).fit(*zoo.loaders())
    page = (tmp_path / "report.html").read_text()
    read = Reader(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert not {"src", "href", "action"} & {name for name, _ in read.attributes}
    assert "http" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme:dark" in page
    assert ("viewport" in page, len(page) < 60_000) == (True, True)
    assert [path.name for path in tmp_path.glob("*.html*")] == ["report.html"]


@pytest.mark.parametrize("error", [RuntimeError("<i>odd</i> & 'quoted'"), KeyboardInterrupt()], ids=["exception", "ctrl-c"])
def test_report_is_written_when_a_run_fails(error, tmp_path):
    """A run that ends with an exception has a report with the exception and all records before it."""
    with pytest.raises(type(error)):
        scripted([0.5, 0.7, 0.9], tmp_path, callbacks=[Report(), RaisesInEpochEnd(error)]).fit(*zoo.loaders())
    page = (tmp_path / "report.html").read_text()
    assert '<span class="pill failed">failed</span>' in page
    assert escape(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) in page
    assert ("<i>" in page, len(rows_of(page))) == (False, 2)


def test_report_is_written_last(tmp_path):
    """A decision that the stopper takes only at the end of fit is in the report, at any position in the list of callbacks."""

    class Raises(Callback):
        def on_validation_end(self, trainer):
            raise RuntimeError("before the stopper")

    with pytest.raises(RuntimeError, match="before the stopper"):
        scripted([0.5], tmp_path, callbacks=[Report("deep/own.html"), Raises()]).fit(*zoo.loaders())
    assert "the first value" in (tmp_path / "deep" / "own.html").read_text()


def test_report_without_validation_or_before_the_first_record(tmp_path):
    """Without validation the page shows the records without decisions; before the first record there is a page, too."""
    trainer = zoo.trainer(model_path=tmp_path, callbacks=[Report()], n_epoch=2)
    assert "not run" in trainer.report(tmp_path / "before.html").read_text()
    trainer.fit(zoo.loaders()[0])
    page = (tmp_path / "report.html").read_text()
    assert ("Decisions" in page, "Records" in page, len(rows_of(page))) == (False, True, 2)
    assert "all epochs were run: 2" in Reader(page).text


def test_report_of_a_history_alone(tmp_path):
    """A history without a trainer gives curves and decisions, without settings."""
    history = history_of([0.5, 0.7, 0.6])
    history.report(tmp_path / "h.html")
    page = (tmp_path / "h.html").read_text()
    assert len(rows_of(page)) == 3
    assert page.count("<svg") == 2
    assert "Settings" not in Reader(page).text


@given(st.text(), st.text(), st.text())
def test_report_escapes_everything(title, reason, value):
    """No text of a run becomes markup: the page has the same tags for any text."""
    history, plain = history_of([0.5, 0.7]), history_of([0.5, 0.7])
    history[0]["verdict"] = value
    history.monitor = plain.monitor = "auc"
    page = report_page(history, title, Ending("stopped", reason), {value + "a": {value: value}, "x": "y" + value})
    read = Reader(page)
    assert read.tags == Reader(report_page(plain, "t", Ending("stopped", "r"), {"a": {"b": "c"}, "x": "d"})).tags
    assert set(read.attributes) - {("aria-label", None)} <= {
        *Reader(report_page(plain, "t", Ending("stopped", "r"), {"a": {"b": "c"}, "x": "d"})).attributes
    }
    page.encode()


@pytest.mark.parametrize("n", [121, 5000])
def test_report_of_a_long_run_stays_small(n):
    """The page of a run with thousands of validations is below 60 kB: curves are thinned, and the table omits records."""
    history = history_of([math.sin(i / 50) + i / n for i in range(n)])
    page = report_page(history, "t", Ending("finished", "r"), {})
    Reader(page)
    assert len(page.encode()) < 60_000
    left_out = sum(int(count.replace(",", "")) for count in re.findall(r"([\d,]+) records without a new best", page))
    shown = [row for row in rows_of(page) if "left out" not in row]
    assert len(shown) + left_out == n


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=800), st.integers(4, 100))
def test_report_thinning_keeps_ends_and_extremes(values, max_points):
    """A thinned curve is an ordered subset of the points with the first, the last, the highest and the lowest point."""
    points = [(float(i), value) for i, value in enumerate(values)]
    thinned = thin_points(points, max_points)
    assert thinned == sorted(set(thinned))
    assert set(thinned) <= set(points)
    assert {points[0], points[-1]} <= set(thinned)
    assert (max(y for _, y in thinned), min(y for _, y in thinned)) == (max(values), min(values))
    assert len(thinned) <= max_points + 2


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_report_ticks_lie_within_the_axis(low, width):
    """There are one to seven ticks, each within the range."""
    positions = ticks(low, low + width)
    assert 1 <= len(positions) <= 7
    assert all(low - 1e-6 * abs(low) - 1e-9 <= tick <= (low + width) * (1 + 1e-9) + 1e-6 * abs(low) + 1e-9 for tick in positions)


@pytest.mark.parametrize(
    "values", [[math.nan], [math.inf, -math.inf], [0.5], [0.5, math.nan, 0.7, 0.7], [0.0, 0.0], [1e300, -1e300], [5e-324]]
)
def test_report_charts_take_any_values(values):
    """Gaps, single points, equal values and extreme floats give finite coordinates."""
    chart = draw_chart(
        "auc", [(float(i), value) for i, value in enumerate(values)], best=(0.0, values[0]), stopped_at=float(len(values) - 1)
    )
    Reader(chart)
    coordinates = re.findall(r'(?:d|cx|cy|x|y)="([^"]*)"', chart)
    assert not any("nan" in text or "inf" in text for text in coordinates)
    assert ("<svg" in chart) == any(map(math.isfinite, values))


def test_report_distinguishes_best_improvement_and_not_counted(tmp_path):
    """A best validation may be no improvement, because of min_delta, or not counted, because of start_from: the report shows it."""
    stopper = EarlyStopper(5, start_from=1, min_delta=0.05)
    history = scripted([0.5, 0.6, 0.61, 0.8], tmp_path, callbacks=[Report(), stopper]).fit(*zoo.loaders())
    rows = rows_of((tmp_path / "report.html").read_text())
    assert ["best so far" in row for row in rows] == [True] * 4
    assert ["not counted" in row for row in rows] == [str(verdict).startswith("ignored") for verdict in history["verdict"]]
    assert ["not counted" in row for row in rows] == [True, False, False, False]
    assert ["no improvement" in row for row in rows] == [False, False, True, False]


def test_report_of_an_undecided_validation_has_no_badge():
    """A validation without a decision is neither an improvement nor not counted."""
    history = history_of([0.5, 0.7])
    for name in ("is_best", "trial_counter", "verdict"):
        del history[1][name]
    rows = rows_of(report_page(history, "t", Ending("failed", "r"), {}))
    assert ['class="pill' in row for row in rows] == [True, False]
    assert "not decided" in rows[1]


@pytest.mark.parametrize(
    ("kind", "word"), [("paused", "interrupted"), ("failed", "failed"), ("stopped", "stopped"), ("finished", "finished")]
)
def test_report_names_the_ending(kind, word):
    """The first badge of the page names how the run ended."""
    page = report_page(history_of([0.5]), "t", Ending(kind, "r"), {})
    assert f'<span class="pill {kind}">{word}</span>' in page
