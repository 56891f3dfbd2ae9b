"""A warning whose cause stays the same is logged once in a run, and in the next run again."""

import logging
import os

import pytest
import zoo

from torch_rechub.basic.callback import Callback, Checkpoint
from torch_rechub.basic.metric import GAUC
from torch_rechub.storage import disk, saves


def one_class(n=40):
    """Training data, and validation rows that are all clicks."""
    x = zoo.columns(n, seed=7)
    train, val = zoo.loaders()
    return train, type(val)(type(val.table).from_columns(x, zoo.labels(x) * 0 + 1), batch_size=16)


def logged(caplog, said):
    return sum(f" {said}" in f" {record.getMessage()}" for record in caplog.records)


@pytest.mark.parametrize("several", [1, 2])
def test_an_undefined_metric_is_logged_once_a_run(several, caplog):
    """Validation rows of one class give one sentence a metric and run, however many validations there are."""
    trainer = zoo.trainer(n_epoch=3, val_every=1, metrics=["auc", "logloss", GAUC("user")])
    with caplog.at_level(logging.WARNING):
        for _ in range(several):
            assert len(trainer.fit(*one_class())) > 6
    for name in ("auc", "gauc"):
        assert logged(caplog, f"{name} is not defined") == several


def test_a_metric_by_hand_says_each_time_that_it_is_undefined(caplog):
    """Outside of a run each call says what it gives."""
    trainer, (_, val) = zoo.trainer(), one_class()
    for _ in range(2):
        trainer.evaluate(val)
    assert logged(caplog, "auc is not defined") == 2


def test_runs_in_one_another_log_by_themselves(caplog):
    """A run that a callback starts says what it finds, and so does the outer one."""

    class Inner(Callback):
        def on_epoch_begin(self, trainer):
            if trainer.state.epoch == 0:
                zoo.trainer(n_epoch=2).fit(*one_class())

    zoo.trainer(n_epoch=2, callbacks=[Inner()]).fit(*one_class())
    assert logged(caplog, "auc is not defined") == 2


@pytest.mark.parametrize("background", [False, True])
def test_files_that_cannot_be_deleted_are_named_once(background, tmp_path, caplog, monkeypatch):
    """Old saves that stay give one warning a run, not one a save."""
    rename = saves.rename

    def refuse(source, target):
        if str(target).endswith(".tmp"):
            raise PermissionError(13, "Permission denied", str(source))
        rename(source, target)

    monkeypatch.setattr(saves, "rename", refuse)
    trainer = zoo.trainer(n_epoch=4, model_path=tmp_path, callbacks=[Checkpoint(background=background)], earlystop_patience=None)
    trainer.fit(*zoo.loaders())
    assert len(os.listdir(tmp_path / "resume")) > 3
    assert logged(caplog, "could not be deleted") == 1


def test_a_folder_that_cannot_be_flushed_is_named_once(tmp_path, caplog, monkeypatch):
    """A file system that fails to flush a folder gives one warning a folder and run."""

    def fail(folder):
        raise OSError(5, "Input/output error", str(folder))

    monkeypatch.setattr(disk, "flush_folder", fail)
    zoo.trainer(n_epoch=4, model_path=tmp_path, earlystop_patience=None).fit(*zoo.loaders())
    assert logged(caplog, "could not be flushed") == 1
