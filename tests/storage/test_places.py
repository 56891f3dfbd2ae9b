"""A path means the same wherever it is given: ``~`` is the home folder, and a relative path is resolved once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zoo

from torch_rechub.basic.callback import Callback, GracefulStop, Report
from torch_rechub.basic.tracking import JsonLinesLogger, TensorBoardLogger
from torch_rechub.datasets import load_frappe
from torch_rechub.storage import SaveFolder, absolute, append_line, expand, expand_address, make_folder, save_weights, write_text
from torch_rechub.trainers import CTRTrainer


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and another one to work in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "home"
    assert not any(entry.name.startswith("~") for entry in tmp_path.rglob("*"))


def test_a_tilde_is_the_home_folder_in_every_path(home):
    """Trainer, resume, reports, histories, loggers and all functions that write take ``~``."""
    trainer = zoo.trainer(
        model_path="~/run",
        n_epoch=1,
        callbacks=[Report("~/reports/run.html"), GracefulStop("~/notice")],
        model_logger=JsonLinesLogger("~/log/run.jsonl"),
    )
    history = trainer.fit(*zoo.loaders(), resume="auto")
    assert (home / "run" / "model.pth").is_file()
    assert (home / "reports" / "run.html").is_file()
    assert (home / "log" / "run.jsonl").is_file()
    assert SaveFolder("~/run/resume").newest() is not None
    assert zoo.trainer(n_epoch=1, model_path="~/other", callbacks=[Report()]).fit(*zoo.loaders(), resume="~/run")["auc"] == history["auc"]
    assert trainer.report("~/a/report.html") == home / "a" / "report.html"
    history.report("~/b/report.html")
    history.save("~/history.jsonl")
    save_weights("~/weights.pth", {})
    write_text(Path("~/text"), "")
    append_line("~/lines/text", "")
    assert make_folder("~/folder") == home / "folder"
    written = {"a/report.html", "b/report.html", "history.jsonl", "weights.pth", "text", "lines/text", "folder"}
    assert all((home / name).exists() for name in written)
    with pytest.raises(FileNotFoundError, match=r"train\.csv\.gz"):
        load_frappe("~/frappe")


def test_a_home_folder_that_is_not_known_is_an_error(monkeypatch):
    """Where ``~`` has no meaning, an error says so, and no folder of that name is made; a user who does not exist is a name."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(ValueError, match=r"no home folder for '~'.*Set the variable HOME"):
        expand("~/run")
    assert expand("~nobody-of-this-name/run") == Path("~nobody-of-this-name/run")


def test_paths_that_are_none_are_named():
    """Bytes, numbers and null characters are refused by what they are."""
    with pytest.raises(TypeError, match=r"must be a str or an os\.PathLike"):
        expand(b"run")
    with pytest.raises(ValueError, match="null character"):
        expand("run\0")
    with pytest.raises(TypeError, match="model_path"):
        zoo.trainer(model_path=3)


def test_addresses_of_trackers_keep_their_form(home):
    """Only a path of this machine is expanded in the address of a tracker."""
    unchanged = ["https://host/~team", "aim://host:53800", "s3://bucket/~x", "sqlite:///mlflow.db", "runs", "./runs"]
    assert [expand_address(address) for address in unchanged] == unchanged
    assert expand_address("~/runs") == f"{home}/runs"
    assert expand_address("sqlite:///~/mlflow.db") == f"sqlite:///{home}/mlflow.db"
    assert expand_address("file:~/runs") == f"file:{home}/runs"


def test_a_tracker_writes_where_its_folder_was(tmp_path, monkeypatch):
    """Event files stay in the folder that was given, or chosen, when the logger was made."""
    pytest.importorskip("tensorboard")
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path)
    loggers = [TensorBoardLogger("events"), TensorBoardLogger()]
    os.chdir(tmp_path / "second")
    for logger in loggers:
        logger.log_metrics({"auc": 0.5}, step=0)
        logger.finish()
    assert list((tmp_path / "second").iterdir()) == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"events", "runs", "second"}


class ChangesFolder(Callback):
    """Changes the working folder within a run."""

    part_of_run = False

    def __init__(self, folder):
        self.folder = folder

    def on_batch_end(self, trainer):
        os.chdir(self.folder)


@pytest.mark.parametrize("within", [False, True])
def test_a_relative_path_does_not_follow_the_working_folder(within, tmp_path, monkeypatch):
    """All files of a run lie where its paths pointed when they were given, and a second run resumes from there."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "first")
    trainer = zoo.trainer(
        model_path="run",
        n_epoch=1,
        callbacks=[Report(), *([ChangesFolder(tmp_path / "second")] if within else [])],
        model_logger=JsonLinesLogger("log.jsonl"),
    )
    if not within:
        os.chdir(tmp_path / "second")
    trainer.fit(*zoo.loaders(), resume="auto")
    assert list((tmp_path / "second").iterdir()) == []
    assert sorted(entry.name for entry in (tmp_path / "first").iterdir()) == ["log.jsonl", "run"]
    assert {"model.pth", "report.html", "resume"} == {entry.name for entry in (tmp_path / "first" / "run").iterdir()}
    assert os.path.samefile(trainer.model_path, tmp_path / "first" / "run")


def test_a_report_without_a_model_path_lies_where_fit_began(tmp_path, monkeypatch):
    """Without a model_path a relative report is below the folder in which fit was called."""
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path)
    zoo.trainer(n_epoch=1, callbacks=[Report("a.html"), ChangesFolder(tmp_path / "second")]).fit(*zoo.loaders())
    assert (tmp_path / "a.html").is_file()


def test_model_path_is_a_path_that_scripts_can_use(tmp_path, monkeypatch):
    """The attribute is absolute, of the type that was given, with the slash at its end; another one may be assigned."""
    monkeypatch.chdir(tmp_path)
    assert CTRTrainer(zoo.model()).model_path == f"{tmp_path}/"
    assert zoo.trainer(model_path="a/b/").model_path + "model.pth" == f"{tmp_path}/a/b/model.pth"
    assert zoo.trainer(model_path=Path("a")).model_path == tmp_path / "a"
    trainer = zoo.trainer(model_path=None, n_epoch=1)
    assert trainer.model_path is None
    trainer.model_path = "later"
    monkeypatch.chdir("/")
    assert trainer.model_path == str(tmp_path / "later")
    trainer.fit(*zoo.loaders())
    assert (tmp_path / "later" / "model.pth").is_file()
    assert absolute("x") == Path("/x")
