"""One live run in a folder: a second one is refused, a dead one does not count."""

from __future__ import annotations

import copy
import errno
import fcntl
import json
import logging
import os
import pickle
import shutil
import signal

import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe

from torch_rechub.basic.callback import Callback, Checkpoint, Report
from torch_rechub.storage import SaveFolder
from torch_rechub.storage.lock import FolderInUseError, FolderLock

RECIPE = Recipe(n_epoch=1)


def forked(function):
    """A child process that calls ``function`` and then waits for its end; returns its id when ``function`` is done."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os.write(writing, b"done")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    assert os.read(reading, 4) == b"done"
    os.close(reading)
    return pid


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_second_live_run_is_refused_and_a_dead_one_does_not_count(tmp_path):
    """While another process saves into the folder, fit names it and changes nothing; after it was killed, fit runs."""
    pid = forked(FolderLock(tmp_path / "resume").acquire)
    try:
        with pytest.raises(FolderInUseError, match=rf"resume is in use by another live run: process {pid} on .*another model_path"):
            RECIPE.start(tmp_path, "auto", Report())
        assert [entry.name for entry in tmp_path.iterdir()] == ["resume"]
        assert [entry.name for entry in (tmp_path / "resume").iterdir()] == ["lock"]
    finally:
        kill(pid)
    assert (tmp_path / "resume" / "lock").exists()
    RECIPE.start(tmp_path, "auto")
    assert [entry.name for entry in (tmp_path / "resume").iterdir()] == SaveFolder(tmp_path / "resume").names()


def test_a_process_that_a_killed_run_started_keeps_no_lock(tmp_path):
    """A worker that outlives its killed parent does not hold the parent's lock."""
    folder, reading_writing = tmp_path / "resume", os.pipe()

    def lock_and_fork():
        FolderLock(folder).acquire()
        os.write(reading_writing[1], str(forked(lambda: None)).encode())

    pid = forked(lock_and_fork)
    worker = int(os.read(reading_writing[0], 20))
    try:
        with pytest.raises(FolderInUseError):
            FolderLock(folder).acquire()
        kill(pid)
        lock = FolderLock(folder)
        lock.acquire()
        lock.release()
    finally:
        os.kill(worker, signal.SIGKILL)


class FitWithin(Callback):
    """Fits another trainer in the same folder within a run."""

    part_of_run = False

    def __init__(self, folder, resume):
        self.folder, self.resume, self.error = folder, resume, None

    def on_batch_end(self, trainer):
        if trainer.state.step == 2:
            try:
                zoo.trainer(model_path=self.folder, n_epoch=1).fit(*zoo.loaders(), resume=self.resume)
            except RuntimeError as error:
                self.error = error


def test_two_trainers_of_one_process_do_not_share_a_folder(tmp_path):
    """Within one process the second trainer is refused as well, and the first one ends as if it were alone."""
    within = FitWithin(tmp_path, "auto")
    trainer = RECIPE.start(tmp_path, None, within)
    assert "(this process)" in str(within.error)
    assert trainer.state.step == 4
    assert SaveFolder(tmp_path / "resume").newest() is not None


@pytest.mark.parametrize("saves", [False, True])
def test_runs_that_share_only_model_pth_are_warned(saves, tmp_path, caplog):
    """A run without saves beside a live one is warned that both write model.pth; a run alone is not."""
    checkpoints = [Checkpoint()] if saves else []
    zoo.trainer(model_path=tmp_path, n_epoch=1, callbacks=checkpoints).fit(*zoo.loaders())
    assert "another live run" not in caplog.text
    within = FitWithin(tmp_path, None)
    zoo.trainer(model_path=tmp_path, n_epoch=1, callbacks=[within, *checkpoints]).fit(*zoo.loaders())
    assert within.error is None
    assert caplog.text.count("another live run has the model_path") == 1


def test_a_trainer_can_fit_again_however_its_run_ended(tmp_path):
    """The lock is released at every way out: at the end, by an exception of a callback, and where a run cannot begin."""
    trainer = zoo.trainer(model_path=tmp_path, n_epoch=1, callbacks=[Checkpoint()])
    for _ in range(2):
        trainer.fit(*zoo.loaders())
    with pytest.raises(Interrupted):
        zoo.trainer(model_path=tmp_path, callbacks=[Checkpoint(), InterruptAt(1)]).fit(*zoo.loaders())
    with pytest.raises(ValueError, match="another one"):
        zoo.trainer(model_path=tmp_path, clip_norm=3.0).fit(*zoo.loaders(), resume="auto")
    trainer.fit(*zoo.loaders())


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_warned_of_once(code, tmp_path, monkeypatch, caplog):
    """Where locks are not known, one warning says so, and the run saves and resumes all the same."""

    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.WARNING):
        trainer = RECIPE.start(tmp_path, None)
    assert caplog.text.count("cannot be locked") == 1
    assert trainer.state.step == 4


class Vanishes(Callback):
    """Deletes a folder within the run, after each of some steps."""

    part_of_run = False

    def __init__(self, folder, steps, then=()):
        self.folder, self.steps, self.then = folder, steps, list(then)

    def on_batch_end(self, trainer):
        if trainer.state.step in self.steps:
            shutil.rmtree(self.folder)
        if trainer.state.step == max(self.steps) + 1:
            for callback in self.then:
                callback.on_batch_end(trainer)


@pytest.mark.parametrize("inner", ["", "resume", "best"])
def test_a_folder_that_vanishes_is_made_again(inner, tmp_path):
    """A run whose folder is deleted while it trains ends with all its files, and its folder is still its own."""
    folder = tmp_path / "run"
    second = FolderLock(folder / "resume")
    refused = []

    class Second(Callback):
        part_of_run = False

        def on_batch_end(self, trainer):
            try:
                second.acquire()
            except FolderInUseError as error:
                refused.append(error)

    vanishes = Vanishes(folder / inner, {2, 3, 6}, [Second()])
    checkpoint = Checkpoint(every_n_steps=1, keep_best=2, safetensors=True)
    trainer = zoo.trainer(model_path=folder, n_epoch=2, val_every=1, callbacks=[vanishes, checkpoint])
    trainer.fit(*zoo.loaders())
    assert len(refused) == 1
    assert zoo.same(torch.load(folder / "model.pth", weights_only=True), trainer.model.state_dict())
    assert (folder / "model.safetensors").exists()
    assert SaveFolder(folder / "resume").newest()["position"]["step"] == 8
    for entry in json.loads((folder / "best" / "best.json").read_text()):
        torch.load(folder / "best" / entry["file"], weights_only=True)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/hostname", path)])
def test_what_stands_in_place_of_the_lock_is_named(make, tmp_path):
    """A folder, a pipe or a link called ``lock`` is named before the first step and not touched."""
    (tmp_path / "resume").mkdir()
    make(tmp_path / "resume" / "lock")
    with pytest.raises(OSError, match=r"cannot be locked.*Remove what is there.*lock"):
        RECIPE.start(tmp_path, None)
    assert os.path.lexists(tmp_path / "resume" / "lock")


def test_the_copy_of_a_lock_holds_none(tmp_path):
    """A lock that was copied or pickled, with a trainer, neither holds nor releases the lock of its original."""
    lock = FolderLock(tmp_path)
    lock.acquire()
    for other in (copy.copy(lock), pickle.loads(pickle.dumps(lock))):
        other.release()
        with pytest.raises(FolderInUseError):
            other.acquire()
    lock.release()
