"""What a file system refuses is tried again or done without where that is right; a finished rename is no failure."""

from __future__ import annotations

import errno
import os
import stat

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Checkpoint
from torch_rechub.storage import SaveFolder, disk
from torch_rechub.storage.disk import delete, make_folder, replace
from torch_rechub.storage.files import remove_temporary_files, save_safetensors, save_weights, write_text

PASSING = [errno.EBUSY, errno.ESTALE, errno.EINTR, errno.EAGAIN]


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that were waited; nothing is waited for."""
    waited = []
    monkeypatch.setattr(disk.time, "sleep", waited.append)
    return waited


def failing(monkeypatch, name, code, times=1, after=False):
    """The first calls of a function of ``os`` fail, before or after they did their work."""
    real, left = getattr(os, name), [times]

    def call(*arguments, **options):
        if left[0] == 0:
            return real(*arguments, **options)
        left[0] -= 1
        if after:
            real(*arguments, **options)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("code", PASSING)
@pytest.mark.parametrize("times", [1, 3])
def test_a_rename_that_fails_for_a_passing_reason_is_tried_again(code, times, tmp_path, monkeypatch, waits):
    """Files and saves are written all the same, after short waits."""
    failing(monkeypatch, "replace", code, times)
    write_text(tmp_path / "text", "new")
    assert (tmp_path / "text").read_text() == "new"
    assert len(waits) == times
    assert sum(waits) < 1
    failing(monkeypatch, "rename", code, times)
    saves = SaveFolder(tmp_path / "resume")
    assert saves.read(saves.write({"a": 1}, {})) == {"a": 1}


def test_a_rename_that_keeps_failing_is_an_error(tmp_path, monkeypatch):
    """After some tries the reason is raised, and the old file is complete."""
    write_text(tmp_path / "text", "old")
    failing(monkeypatch, "replace", errno.EBUSY, times=9)
    with pytest.raises(OSError, match=r"could not be written: Device or resource busy\. The file that was there before is intact.*text"):
        write_text(tmp_path / "text", "new")
    assert (tmp_path / "text").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["text"]


def test_windows_denies_access_while_another_program_reads(tmp_path, monkeypatch):
    """There a file that another program has open cannot be replaced for a moment: access denied is tried again too."""
    monkeypatch.setattr(disk, "PASSING", {*disk.PASSING, errno.EACCES})
    failing(monkeypatch, "replace", errno.EACCES)
    write_text(tmp_path / "text", "new")
    assert (tmp_path / "text").read_text() == "new"


@pytest.mark.parametrize("code", [errno.EIO, errno.EBUSY, errno.ESTALE])
@pytest.mark.parametrize("write", [write_text, save_weights, save_safetensors])
def test_a_rename_that_was_done_before_its_error_is_no_failure(code, write, tmp_path, monkeypatch):
    """A network file system may answer an error, or be asked again, after the file has its new name."""
    content = "new" if write is write_text else {"w": torch.ones(2)}
    failing(monkeypatch, "replace", code, after=True)
    write(tmp_path / "file", content)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    failing(monkeypatch, "rename", code, after=True)
    saves = SaveFolder(tmp_path / "resume")
    assert saves.read(saves.write({"a": 1}, {})) == {"a": 1}


def test_a_rename_of_another_file_is_not_taken_for_ours(tmp_path, monkeypatch):
    """Where the target is another file than ours, the error is raised."""
    (tmp_path / "source").write_text("new")
    (tmp_path / "target").write_text("old")

    def lost(source, target):
        source.unlink()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", lost)
    with pytest.raises(OSError, match="Input/output error"):
        replace(tmp_path / "source", tmp_path / "target")


def folder_sync(monkeypatch, code):
    """The flushing of folders, not of files, fails."""
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES])
def test_a_file_system_that_cannot_flush_folders_does_without(code, tmp_path, monkeypatch, caplog):
    """CIFS, FUSE and others answer so: runs write all their files, and nothing is said."""
    folder_sync(monkeypatch, code)
    trainer = zoo.trainer(model_path=tmp_path, n_epoch=1, callbacks=[Checkpoint(every_n_steps=1, keep_best=2, safetensors=True)])
    trainer.fit(*zoo.loaders())
    assert SaveFolder(tmp_path / "resume").names() == ["save-00000005"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"model.pth", "model.safetensors", "best", "resume"}
    assert "flushed" not in caplog.text


@pytest.mark.parametrize("write", [write_text, save_weights, save_safetensors])
def test_a_folder_that_cannot_be_flushed_is_a_warning_after_the_rename(write, tmp_path, monkeypatch, caplog):
    """The file is complete and has its name: an error of the disk in flushing the folder is logged, not raised."""
    folder_sync(monkeypatch, errno.EIO)
    write(tmp_path / "file", "new" if write is write_text else {"w": torch.ones(2)})
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert "the folder could not be flushed to disk: Input/output error" in caplog.text


def test_older_saves_stay_until_a_newer_one_is_on_disk(tmp_path, monkeypatch, caplog):
    """A save whose name could not be flushed counts as written, and the ones before it are not deleted yet."""
    saves = SaveFolder(tmp_path)
    saves.write({"a": 1}, {"run": "r"})
    with monkeypatch.context() as patch:
        real = os.fsync

        def fsync(descriptor):
            if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)):
                raise OSError(errno.EIO, "Input/output error")
            real(descriptor)

        patch.setattr(os, "fsync", fsync)
        saves.write({"a": 2}, {"run": "r"})
        saves.prune(1, "r")
    assert saves.names() == ["save-00000001", "save-00000002"]
    assert "could not be flushed" in caplog.text
    saves.write({"a": 3}, {"run": "r"})
    saves.prune(1, "r")
    assert saves.names() == ["save-00000003"]


def test_a_file_that_cannot_be_flushed_at_all_is_written(tmp_path, monkeypatch):
    """Where fsync is not known for a file either, it is written; an error of the disk is raised."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EINVAL, "Invalid argument")))
    save_weights(tmp_path / "w", {"w": torch.ones(2)})
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        save_weights(tmp_path / "w", {"w": torch.zeros(2)})
    assert torch.load(tmp_path / "w", weights_only=True)["w"].tolist() == [1, 1]


def test_what_cannot_be_deleted_is_a_warning(tmp_path, monkeypatch, caplog):
    """A save and weights that are not needed any more stay where they cannot be deleted, and the run goes on."""
    saves = SaveFolder(tmp_path / "resume")
    for i in range(2):
        saves.write({"a": i}, {"run": "r"})
    (tmp_path / "file").write_text("")
    with monkeypatch.context() as patch:
        for name in ("rename", "unlink"):
            failing(patch, name, errno.EACCES, times=99)
        saves.prune(1, "r")
        delete(tmp_path / "file")
    assert saves.names() == ["save-00000001", "save-00000002"]
    assert caplog.text.count("could not be deleted: Permission denied") == 2


def test_temporary_files_are_deleted_by_their_exact_form(tmp_path):
    """What a killed process left is deleted, files and folders; what only looks like it stays."""
    ours = ["model.pth.0123abcd.tmp", "model.pth.ffffffff.tmp"]
    others = ["model.pth.tmp", "model.pth.mine.tmp", "model.pth.0123ABCD.tmp", "xmodel.pth.0123abcd.tmp", "model_pth.0123abcd.tmp"]
    for name in [*ours[:1], *others]:
        (tmp_path / name).write_text("")
    (tmp_path / ours[1]).mkdir()
    (tmp_path / ours[1] / "part").write_text("")
    remove_temporary_files(tmp_path / "model.pth")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), lambda path: path.symlink_to("nowhere")])
def test_what_stands_where_a_folder_should_be_is_named(make, tmp_path):
    """The error names the file, or the link that leads nowhere, also where it is a parent, and the argument to change."""
    make(tmp_path / "a")
    for path in (tmp_path / "a", tmp_path / "a" / "b" / "c"):
        with pytest.raises(OSError, match=r"cannot write into the folder: a is a .*\. Choose another output"):
            make_folder(path, "output")
