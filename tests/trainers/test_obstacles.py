"""What blocks a write is found before the first step, with one error; a disk that fails later loses no training."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback, Checkpoint, Report
from torch_rechub.basic.tracking import JsonLinesLogger
from torch_rechub.storage import files


class Steps(Callback):
    """The steps of a run."""

    part_of_run = False

    def __init__(self):
        self.n = 0

    def on_batch_begin(self, trainer):
        self.n += 1


def folder(path):
    path.mkdir(parents=True)


def file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def link(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere")


OBSTACLES = [
    ("model.pth", folder, r"a file must be written here, and there is a folder\. Move it away.*model\.pth"),
    ("model.pth", pipe, r"a file must be written here, and there is no regular file\..*model\.pth"),
    ("model.safetensors", folder, r"a file must be written here.*model\.safetensors"),
    ("resume", file, r"cannot write into the folder: resume is a file, not a folder\. Choose another model_path.*resume"),
    ("resume", link, r"cannot write into the folder: resume is a link that leads to no folder"),
    ("best", file, r"cannot write into the folder: best is a file, not a folder\..*best"),
    ("report.html", folder, r"a file must be written here, and there is a folder.*report\.html"),
    ("pages", file, r"cannot write into the folder: pages is a file, not a folder\. Choose another path.*pages"),
    ("", file, r"cannot write into the folder: run is a file, not a folder"),
]


@pytest.mark.parametrize(("name", "make", "message"), OBSTACLES)
def test_what_blocks_a_write_is_found_before_the_first_step(name, make, message, tmp_path):
    """The error names what is there and what to do; no step is made, and what is there is not touched."""
    place = tmp_path / "run" / name
    make(place)
    before, steps = place.lstat(), Steps()
    callbacks = [steps, Checkpoint(keep_best=2, safetensors=True), Report("pages/a.html" if name == "pages" else "report.html")]
    trainer = zoo.trainer(model_path=tmp_path / "run", callbacks=callbacks)
    weights = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(OSError, match=message):
        trainer.fit(*zoo.loaders())
    assert steps.n == 0
    assert zoo.same(trainer.model.state_dict(), weights)
    assert os.path.samestat(place.lstat(), before)


@pytest.mark.parametrize("make", [folder, pipe])
def test_a_logger_whose_file_is_blocked_is_refused_at_once(make, tmp_path):
    """JsonLinesLogger names what is in the place of its file."""
    make(tmp_path / "log.jsonl")
    with pytest.raises(OSError, match=r"a file must be written here.*log\.jsonl"):
        JsonLinesLogger(tmp_path / "log.jsonl")


def test_what_a_run_does_not_write_does_not_block_it(tmp_path):
    """A file called resume or best is no error where no saves and no best files are written."""
    file(tmp_path / "resume")
    file(tmp_path / "best")
    zoo.trainer(model_path=tmp_path, n_epoch=1).fit(*zoo.loaders())
    assert (tmp_path / "resume").read_text() == (tmp_path / "best").read_text() == "mine"


class Patches(Callback):
    """Lets a function of a module fail from a step on."""

    part_of_run = False

    def __init__(self, monkeypatch, module, name, code, step=2):
        self.patch, self.module, self.name, self.code, self.step = monkeypatch, module, name, code, step

    def on_batch_end(self, trainer):
        if trainer.state.step == self.step:
            self.patch.setattr(self.module, self.name, self.fail)

    def fail(self, *arguments, **options):
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_within_a_run_gives_one_error_and_the_best_weights(code, tmp_path, monkeypatch):
    """fit raises the reason with the file, once; the model holds the best weights so far; with a good disk the trainer fits again."""
    patches = Patches(None, files, "replace", code, step=4)
    trainer = zoo.trainer(model_path=tmp_path, n_epoch=2, val_every=2, callbacks=[patches, Report()])
    with monkeypatch.context() as patches.patch:
        with pytest.raises(OSError, match=rf"could not be written: {os.strerror(code)}.*model\.pth") as raised:
            trainer.fit(*zoo.loaders())
    assert raised.value.errno == code
    assert raised.value.__context__ is raised.value.__cause__  # the system's error; no second failure hides the first
    assert len(trainer.history) == 2
    assert zoo.same(trainer.model.state_dict(), trainer.early_stopper.best_weights)
    patches.step = None
    trainer.fit(*zoo.loaders())
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), trainer.model.state_dict())


@pytest.fixture
def read_only(tmp_path):
    """A file system that cannot be written to, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("inner", ["", "new/run"])
def test_a_read_only_file_system_is_named_before_the_first_step(inner, read_only):
    """fit raises one error that names the folder and the remedy, also where resuming is asked for."""
    for resume in (None, "auto"):
        steps = Steps()
        trainer = zoo.trainer(model_path=read_only / inner, callbacks=[steps])
        with pytest.raises(
            OSError, match=r"cannot write into the folder: Read-only file system\. Choose another model_path.*disk"
        ) as raised:
            trainer.fit(*zoo.loaders(), resume=resume)
        assert raised.value.errno == errno.EROFS
        assert steps.n == 0
