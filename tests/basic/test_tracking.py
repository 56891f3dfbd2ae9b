"""Tests of the loggers. Each tracker runs if its library is installed; none needs a server or an account."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import math
import warnings

import numpy as np
import pytest
import torch
import zoo

from torch_rechub.basic import tracking
from torch_rechub.basic.tracking import (
    AimLogger,
    BaseLogger,
    JsonLinesLogger,
    MLflowLogger,
    SwanLabLogger,
    TensorBoardLogger,
    TensorBoardXLogger,
    WandbLogger,
)
from torch_rechub.basic.tracking.base import numbers, plain

#: For each logger: its arguments, the module that it needs, and the name by which pip installs it.
MISSING = {
    TensorBoardLogger: ({"log_dir": "x"}, "torch.utils.tensorboard", "tensorboard"),
    TensorBoardXLogger: ({"log_dir": "x"}, "tensorboardX", "tensorboardX"),
    MLflowLogger: ({}, "mlflow.entities", "mlflow"),
    WandbLogger: ({"project": "p"}, "wandb", "wandb"),
    SwanLabLogger: ({"project": "p"}, "swanlab", "swanlab"),
    AimLogger: ({}, "aim", "aim"),
}
SETTINGS = {"model": "DeepFM", "learning_rate": 0.05, "clip_norm": None, "dims": (8, 4), "a|b": "x\ny", "device": torch.device("cpu")}
VALUES = [0.5, math.nan, math.inf, 0.75]


def need(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install {module} runs this test")


def log_all(logger):
    """Call a logger as a run does, with ``finish`` called twice."""
    logger.log_hyperparams(SETTINGS)
    for step, value in enumerate(VALUES):
        logger.log_metrics({"val/auc": value, "val/ndcg@10": torch.tensor(0.5), "val/note": None}, step=step)
    logger.finish()
    logger.finish()


def assert_points(points, expected):
    assert [(step, pytest.approx(value, nan_ok=True)) for step, value in points] == expected


def scalars_of(folder, tag):
    """The points of a curve, read by TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)], events.Tags()["tensors"]


def test_tracking_lists_every_logger():
    """The tests of this file cover every public logger."""
    public = {getattr(tracking, name) for name in tracking.__all__}
    assert public == {*MISSING, BaseLogger, JsonLinesLogger}
    assert all(issubclass(logger, BaseLogger) for logger in public)


@pytest.mark.parametrize("logger", MISSING, ids=lambda logger: logger.__name__)
def test_tracking_missing_library_names_the_command(logger, monkeypatch):
    """Without its library a logger raises an ImportError that names the logger and the command that installs the library."""
    arguments, module, library = MISSING[logger]
    import_module = importlib.import_module

    def missing(name, *rest):
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return import_module(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=rf"{logger.__name__} needs {library}. Install it with: pip install {library}\."):
        logger(**arguments)


def test_tracking_json_lines_keep_every_value(tmp_path):
    """Python's json reads each line, NaN and infinities included; the folder is created, and lines are appended."""
    path = tmp_path / "new" / "log.jsonl"
    log_all(JsonLinesLogger(path))
    log_all(JsonLinesLogger(path))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(records) == 2 * (1 + len(VALUES))
    assert records[0] == {"settings": {**SETTINGS, "dims": [8, 4], "device": "cpu"}}
    assert_points(
        [(record["step"], record["val/auc"]) for record in records[1:5]], [(i, pytest.approx(v, nan_ok=True)) for i, v in enumerate(VALUES)]
    )


def test_tracking_numbers_become_python_numbers():
    """0-d tensors, arrays and numpy scalars are numbers; None, strings and vectors are left out."""
    given = {"a": np.float32(0.5), "b": torch.tensor([1.0]), "c": np.int64(3), "d": True, "e": None, "f": "x", "g": torch.ones(2), "h": [1]}
    assert numbers(given) == {"a": 0.5, "b": 1.0, "c": 3.0, "d": 1.0}
    assert json.dumps(plain({"lr": np.float32(0.5), "on": np.bool_(True), "rows": {1: torch.arange(2)}, "f": len}))


def test_tracking_tensorboard_writes_events(tmp_path):
    """TensorBoard reads every point, NaN and infinity included, and the settings as a text."""
    need("tensorboard")
    log_all(TensorBoardLogger(tmp_path))
    points, texts = scalars_of(tmp_path, "val/auc")
    assert_points(points, [(i, pytest.approx(v, nan_ok=True)) for i, v in enumerate(VALUES)])
    assert texts == ["settings/text_summary"]


def test_tracking_tensorboardx_writes_events(tmp_path, caplog):
    """tensorboardX writes the same events; the library logs a warning for values that are not finite."""
    need("tensorboardX")
    need("tensorboard")
    caplog.set_level(logging.CRITICAL)
    log_all(TensorBoardXLogger(tmp_path))
    points, texts = scalars_of(tmp_path, "val/auc")
    assert_points(points, [(i, pytest.approx(v, nan_ok=True)) for i, v in enumerate(VALUES)])
    assert texts == ["settings/text_summary"]


def test_tracking_without_a_step_uses_the_next_position(tmp_path):
    """Metrics without a step are recorded at the position after the last."""
    need("tensorboard")
    logger = TensorBoardLogger(tmp_path)
    for step in (None, None, 7, None):
        logger.log_metrics({"loss": 0.5}, step)
    logger.finish()
    assert [step for step, _ in scalars_of(tmp_path, "loss")[0]] == [0, 1, 7, 8]


@pytest.mark.filterwarnings("ignore")  # its own dependencies' deprecations
def test_tracking_mlflow_records_a_run(tmp_path):
    """A SQLite store holds the finished run with every point and setting; infinity is the largest float; a run can be continued."""
    need("mlflow")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logger = MLflowLogger("clicks", run_name="first", tracking_uri=store, tags={"owner": "me"})
    log_all(logger)
    again = MLflowLogger("clicks", tracking_uri=store, run_id=logger.run_id)
    again.log_hyperparams(SETTINGS)
    again.log_metrics({"val/auc": 0.9}, step=4)
    again.finish()
    run = again.client.get_run(logger.run_id)
    points = [(m.step, m.value) for m in again.client.get_metric_history(logger.run_id, "val/auc")]
    largest = np.finfo(np.float64).max
    assert_points(sorted(points), [(i, pytest.approx(v, nan_ok=True)) for i, v in enumerate([0.5, math.nan, largest, 0.75, 0.9])])
    assert (run.info.status, run.info.run_name, run.data.tags["owner"]) == ("FINISHED", "first", "me")
    assert run.data.params == {
        "model": "DeepFM",
        "learning_rate": "0.05",
        "clip_norm": "None",
        "dims": "[8, 4]",
        "a_b": "x\ny",
        "device": "cpu",
    }
    assert run.data.metrics["val/ndcg_10"] == 0.5


@pytest.mark.filterwarnings("ignore")
def test_tracking_wandb_writes_offline(tmp_path):
    """Offline, Weights & Biases writes the run into the given folder and needs no account."""
    need("wandb")
    logger = WandbLogger("clicks", "first", {"seed": 1}, ["a"], "a note", str(tmp_path), mode="offline")
    log_all(logger)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"ndcg@10" in file.read_bytes()
    assert b"learning_rate" in file.read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_tracking_swanlab_writes_offline(tmp_path):
    """Offline, SwanLab writes the run into the given folder and needs no account."""
    need("swanlab")
    logger = SwanLabLogger("clicks", "first", "a description", {"seed": 1}, str(tmp_path / "logs"), mode="offline")
    log_all(logger)
    (file,) = tmp_path.glob("logs/run-*/*.swanlab")
    assert b"ndcg@10" in file.read_bytes()
    (config,) = tmp_path.glob("logs/run-*/files/config.yaml")
    assert "learning_rate" in config.read_text()


@pytest.mark.filterwarnings("ignore")
def test_tracking_aim_records_a_run(tmp_path):
    """A local repository holds the run with every point, NaN and infinity included, and the settings."""
    need("aim")
    import aim

    logger = AimLogger(tmp_path, experiment="clicks")
    name = logger.run.hash
    log_all(logger)
    run = aim.Run(name, repo=str(tmp_path), system_tracking_interval=None, capture_terminal_logs=False)
    (auc,) = [metric for metric in run.metrics() if metric.name == "val/auc"]
    np.testing.assert_array_equal(np.sort(list(auc.values.sparse_list()[1])), np.sort(VALUES))
    assert run["hparams"]["learning_rate"] == 0.05
    assert run.experiment == "clicks"
    run.close()


class Recorder(BaseLogger):
    """Records its calls, and raises in the method named ``fails``."""

    def __init__(self, fails=None):
        self.calls, self.fails = [], fails

    def _record(self, method):
        self.calls.append(method)
        if method == self.fails:
            raise OSError("no network")

    def log_metrics(self, metrics, step=None):
        self._record("log_metrics")

    def log_hyperparams(self, params):
        self._record("log_hyperparams")

    def finish(self):
        self._record("finish")


@pytest.mark.parametrize("fails", ["log_hyperparams", "log_metrics", "finish"])
def test_tracking_a_failing_logger_is_named_and_the_others_are_finished(fails, tmp_path):
    """An error of a logger ends the run and names the logger; all loggers are finished, and the best weights are saved after training."""
    first, broken, last = Recorder(), Recorder(fails), Recorder()
    trainer = zoo.trainer(model_logger=[first, broken, last], model_path=tmp_path, n_epoch=2)
    with pytest.raises(OSError, match="no network") as caught:
        trainer.fit(*zoo.loaders())
    if hasattr(caught.value, "__notes__"):
        assert f"raised by the logger Recorder.{fails}" in caught.value.__notes__
    assert [logger.calls.count("finish") for logger in (first, broken, last)] == [1, 1, 1]
    assert (tmp_path / "model.pth").exists() == (fails != "log_hyperparams")


def test_tracking_a_run_logs_each_validation(tmp_path):
    """A run logs its settings, then one point per validation, then finishes the logger."""
    need("tensorboard")
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = zoo.trainer(model_logger=[recorder, TensorBoardLogger(tmp_path)], n_epoch=3).fit(*zoo.loaders())
    assert recorder.calls == ["log_hyperparams", *["log_metrics"] * 3, "finish"]
    assert [value for _, value in scalars_of(tmp_path, "val/auc")[0]] == pytest.approx(history["auc"])
