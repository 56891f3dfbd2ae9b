"""The settings of benchmarks/accuracy make a model of every table, with arguments that the model has and uses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from torch_rechub.basic.features import SparseFeature

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.accuracy.settings import read_settings

COLUMNS = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")


@pytest.mark.parametrize("name", read_settings())
def test_a_setting_makes_its_model(name, caplog):
    """The model is made without a warning and predicts."""
    setting = read_settings()[name]
    model = setting.make([SparseFeature(column, 12, 10) for column in COLUMNS]).eval()
    assert not caplog.text
    assert model({column: torch.tensor([1, 2]) for column in COLUMNS}).shape == (2,)


def test_a_verdict_compares_with_the_mean_of_five_runs():
    """Means of five runs are the figure where they are published, and a model may miss AUC or log loss."""
    setting = read_settings()["DeepFM"]
    assert setting.verdict(0.9820, 0.1690) == "reached"
    assert setting.verdict(0.9818, 0.1490) == "misses: AUC -0.0021"
    assert setting.verdict(0.9840, 0.1700) == "misses: log loss +0.0205"
