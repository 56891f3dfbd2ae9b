"""What a report and a logger tell of a run besides its history: enough to repeat it."""

import logging
import math

import numpy as np
import pytest
import torch
import zoo
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback, EarlyStopper, Report
from torch_rechub.data import as_loader
from torch_rechub.report.range_test import loss_range
from torch_rechub.trainers import CTRTrainer, History, find_learning_rate


class Settings(Callback):
    """Keeps what a logger would get at the beginning of a run."""

    def on_fit_begin(self, trainer):
        self.seen = trainer.settings()


def test_report_has_what_repeats_the_run(tmp_path):
    """Batch size, rows, label rate, features, dimensions, dropout, seeds and test metrics stand on the page."""
    train, val = zoo.loaders()
    trainer = zoo.trainer(n_epoch=1, model_path=tmp_path, callbacks=[Report(test=val)], regularization_params={"dense_l2": 1e-4})
    torch.manual_seed(71)
    trainer.fit(train, val)
    page = (tmp_path / "report.html").read_text()
    facts = dict(part.split("</dt><dd>") for part in page.replace("</dd>", "<dt>").split("<dt>") if "</dt><dd>" in part)
    assert facts["train rows"] == f"{len(train.table):,}"
    assert facts["train batch_size"] == str(train.batch_size)
    assert float(facts["train mean label"]) == pytest.approx(float(train.table.y.mean()), abs=1e-6)
    assert facts["train shuffle seed"] == f"{train.seed:,}"
    assert facts["torch.manual_seed"] == "71"
    assert facts["features"] == "2 dense, 2 sparse, 1 sequence"
    assert (facts["embedding dimension"], facts["dropout"]) == ("4", "0.2")
    assert facts["widths of mlp"].endswith("&gt; 8 &gt; 1")
    assert "dense_l2" in facts["regularization"]
    assert float(facts["auc"]) == pytest.approx(trainer.evaluate(trainer.model, val), abs=1e-5)


def test_logger_gets_the_facts_of_data_and_model():
    """The settings at the beginning of a run name rows, batch size, features and parameters, also of a foreign loader."""
    x, y = zoo.tensors()
    rows = [({name: column[i] for name, column in x.items()}, y[i]) for i in range(len(y))]
    log = Settings()
    zoo.trainer(n_epoch=1, callbacks=[log]).fit(DataLoader(rows, batch_size=32))
    assert log.seen["train loader"] == "DataLoader"
    assert (log.seen["train rows"], log.seen["train batch_size"]) == (len(rows), 32)
    assert log.seen["parameters"] > 0
    assert as_loader(iter([])).facts() == {"loader": "list_iterator"}


def test_not_counted_marks_the_validations_that_patience_ignores(tmp_path):
    """The badge "not counted" stands beside the first start_from validations and nowhere else; a NaN counts."""
    stopper = EarlyStopper(2, start_from=2)
    trainer = zoo.trainer(n_epoch=5, model_path=tmp_path, callbacks=[stopper, Report()])
    trainer.evaluate_fn = zoo.Scripted([0.5, 0.4, 0.6, math.nan, 0.5])
    trainer.fit(*zoo.loaders())
    rows = (tmp_path / "report.html").read_text().partition("</table>")[0].split("<tr")[2:]
    assert ["not counted" in row for row in rows] == [True, True, False, False, False]
    assert ["no improvement" in row for row in rows] == [False, False, False, True, True]


def test_history_shows_a_table_in_a_notebook():
    """A notebook shows the run in one line and its records, escaped; an empty history is one line."""
    history = History("auc")
    assert "table" not in history._repr_html_()
    history.append({"epoch": 1, "step": 5, "loss": 0.5, "lr": 0.1, "auc": 0.7, "is_best": True, "trial_counter": 0, "verdict": "<b>"})
    shown = history._repr_html_()
    assert "best auc 0.7 at step 5" in shown
    assert "&lt;b&gt;" in shown
    assert shown.count("<tr") == 2


def test_curves_mark_epochs_and_explain_the_circle():
    """An upper axis has a mark where each epoch ended, and each legend says which metric the circle is the best of."""
    history = History("auc")
    for i in range(8):
        facts = {"epoch": i // 2 + 1, "step": 10 * (i + 1), "loss": 0.5, "lr": 0.1, "auc": 0.5 + i / 100, "logloss": 0.5 + i / 10}
        history.append({**facts, "is_best": True})
    figure = history.plot()
    auc, logloss, _ = figure.axes
    top = auc.child_axes[0]
    assert top.get_xlabel() == "epoch"
    labels = [tick.get_text() for tick in top.get_xticklabels()]
    assert dict(zip(top.get_xticks(), labels, strict=True)) == {20: "1", 40: "2", 60: "3", 80: "4"}
    assert auc.get_legend().get_texts()[0].get_text() == "best auc: 0.5700, epoch 4"
    assert logloss.get_legend().get_texts()[0].get_text() == "at the best auc: 1.2000"
    assert History("auc").epoch_ends() == []


def test_picture_of_a_range_test_does_not_show_the_diverging_tail():
    """The vertical axis covers the loss up to its minimum, also where the loss ends far above or only rises."""
    finding = find_learning_rate(zoo.trainer(), zoo.loaders()[0], 1e-4, 100.0, 60)
    low, high = finding.plot().axes[0].get_ylim()
    assert low < min(finding.smoothed) < high
    assert high < max(finding.losses)
    assert loss_range([0.5, 1.0, 9.0], least=0) == pytest.approx((0.495, 0.505))


def font_with(characters, folder):
    """A font file that has the characters, each as a square."""
    pen = TTGlyphPen(None)
    for move, point in zip((pen.moveTo, pen.lineTo, pen.lineTo, pen.lineTo), [(0, 0), (0, 700), (700, 700), (700, 0)], strict=True):
        move(point)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(letter):04X}" for letter in characters)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): name for letter, name in zip(characters, names[1:], strict=True)})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(folder / "squares.ttf")
    return folder / "squares.ttf"


def history_of_click_rate():
    history = History("点击率")
    history.append({"epoch": 1, "step": 5, "loss": 0.5, "lr": 0.1, "点击率": 0.7, "is_best": True})
    return history


def test_chinese_names_show_in_pictures(tmp_path, caplog, monkeypatch):
    """An SVG file keeps them as text; other formats use an installed font that has them, and say so where there is none."""
    from matplotlib import font_manager

    history = history_of_click_rate()
    history.plot(tmp_path / "curves.svg")
    assert "点击率</text>" in (tmp_path / "curves.svg").read_text("utf-8")
    default = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", default)
    with caplog.at_level(logging.WARNING):
        history.plot(tmp_path / "curves.png")
    assert "'击点率'" in caplog.text
    assert "Noto Sans CJK" in caplog.text
    caplog.clear()
    font_manager.fontManager.addfont(str(font_with("点击率", tmp_path)))
    figure = history.plot(tmp_path / "curves.png")
    assert caplog.text == ""
    assert "Squares" in figure.axes[0].title.get_fontfamily()


def test_report_of_a_model_of_the_users_own(tmp_path):
    """A module without features has its parameters and widths on the page, frozen ones counted apart."""

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Linear(4, 1))
            self.net[0].requires_grad_(False)

        def forward(self, x):
            return self.net(x["a"][:, None].float()).squeeze(1).sigmoid()

    trainer = CTRTrainer(Own(), n_epoch=1, model_path=None, progress=False)
    trainer.fit([({"a": torch.from_numpy(np.ones(4, np.float32))}, torch.tensor([0.0, 1, 0, 1]))])
    trainer.report(tmp_path / "own.html")
    page = (tmp_path / "own.html").read_text()
    assert "<dt>frozen parameters</dt><dd>8</dd>" in page
    assert "1 &gt; 4 &gt; 1" in page
