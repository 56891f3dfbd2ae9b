"""What is on disk is the old whole or the new whole, never a part."""

from __future__ import annotations

import builtins
import errno
import os
import stat

import pytest
import torch

from torch_rechub.storage.files import make_folder, save_weights, write_file, write_text

OLD, NEW = {"w": torch.zeros(3)}, {"w": torch.arange(100_000.0)}


def assert_only(path, weights):
    """The file holds these weights, and nothing else lies beside it."""
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    loaded = torch.load(path, weights_only=True)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


class FullFile:
    """A file that takes so many bytes and no more."""

    def __init__(self, file, room, error):
        self.file, self.room, self.error = file, room, error

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise self.error
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        self.file.__enter__()
        return self

    def __exit__(self, *args):
        return self.file.__exit__(*args)


def break_writing(monkeypatch, room, error):
    real = builtins.open

    def opened(path, mode="r", *args):
        return FullFile(real(path, mode, *args), room, error) if "w" in mode else real(path, mode, *args)

    monkeypatch.setattr(builtins, "open", opened)


@pytest.mark.parametrize("room", [0, 1000, 200_000])
def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, monkeypatch, room):
    """A write that fails at the start, after a while or near the end: OSError names the file, the old one is whole, no other is left."""
    path = tmp_path / "model.pth"
    save_weights(path, OLD)
    with monkeypatch.context() as patch:
        break_writing(patch, room, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match=r"No space left on device.*before is intact.*model\.pth") as raised:
            save_weights(path, NEW)
    assert raised.value.errno == errno.ENOSPC
    assert_only(path, OLD)
    save_weights(path, NEW)
    assert_only(path, NEW)


@pytest.mark.parametrize("room", [0, 1000, 200_000])
def test_an_interrupt_while_writing_stays_an_interrupt(tmp_path, monkeypatch, room):
    """Ctrl-C within a write is KeyboardInterrupt to the caller, and the old file is whole."""
    path = tmp_path / "model.pth"
    save_weights(path, OLD)
    with monkeypatch.context() as patch:
        break_writing(patch, room, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            save_weights(path, NEW)
    assert_only(path, OLD)


def test_a_last_save_reports_its_own_failure(tmp_path, monkeypatch):
    """Saving while another exception is handled says why the save failed, not what the run died of."""

    def refuse(*args):
        raise RuntimeError("cannot be written")

    monkeypatch.setattr(torch, "save", refuse)
    try:
        raise KeyError("the run")
    except KeyError:
        with pytest.raises(OSError, match=r"cannot be written.*model\.pth"):
            save_weights(tmp_path / "model.pth", OLD)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_system_call_that_fails_leaves_the_old_file(tmp_path, monkeypatch, function):
    """When flushing or renaming fails the error names the file, and the old one is whole."""
    path = tmp_path / "model.pth"
    save_weights(path, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, function, full_disk)
        with pytest.raises(OSError, match=r"model\.pth"):
            save_weights(path, NEW)
    assert_only(path, OLD)


def test_writing_is_flushed_then_renamed_then_made_durable(tmp_path, monkeypatch):
    """The order is: temporary file flushed to the disk, renamed over the old one, folder flushed."""
    done = []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(source, target):
        done.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "x", "new")
    assert done == ["file", "rename", "folder"]


def test_a_writer_that_fails_leaves_no_trace(tmp_path):
    """Any exception of the writing function goes through as it is; there is no file, and no temporary one."""

    def fail(file):
        file.write(b"half")
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        write_file(tmp_path / "x", fail)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"nowhere.*x"):
        write_text(tmp_path / "nowhere" / "x", "")
    with pytest.raises(OSError, match="folder"):
        write_text(make_folder(tmp_path / "folder"), "")


def test_weights_come_back_as_they_are_and_from_the_cpu(tmp_path):
    """Any dtype, scalars, empty tensors, views of one table, and plain numbers load with weights_only=True."""
    table = torch.nn.Parameter(torch.randn(6, 2))
    weights = {"a": table[:2], "b": table[2:], "n": torch.tensor(3), "h": torch.ones(2, dtype=torch.bfloat16), "e": torch.zeros(0), "v": 1}
    save_weights(tmp_path / "w", weights)
    loaded = torch.load(tmp_path / "w", weights_only=True)
    assert loaded["v"] == 1
    for name in "abnhe":
        assert torch.equal(loaded[name], weights[name])
        assert loaded[name].dtype == weights[name].dtype
        assert not loaded[name].requires_grad


def test_folders_are_made_and_tried(tmp_path):
    """make_folder makes all that is missing, is content with what is there, and leaves nothing in it."""
    for _ in range(2):
        assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write into the folder: .*Choose another model_path.*file"):
        make_folder(tmp_path / "file")
