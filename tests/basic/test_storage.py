"""A file on disk is the complete old file or the complete new file, never a part of one."""

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
    """The file holds these weights, and its folder holds no other file."""
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    loaded = torch.load(path, weights_only=True)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


class FullFile:
    """A file that raises ``error`` after ``room`` bytes."""

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
    real_open = builtins.open

    def open_file(path, mode="r", *args):
        return FullFile(real_open(path, mode, *args), room, error) if "w" in mode else real_open(path, mode, *args)

    monkeypatch.setattr(builtins, "open", open_file)


@pytest.mark.parametrize("room", [0, 1000, 200_000])
def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path, monkeypatch, room):
    """If a write fails at its start, middle or end, OSError names the file, the old file is complete, and no temporary file remains."""
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
    """Ctrl-C during a write raises KeyboardInterrupt, and the old file is complete."""
    path = tmp_path / "model.pth"
    save_weights(path, OLD)
    with monkeypatch.context() as patch:
        break_writing(patch, room, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            save_weights(path, NEW)
    assert_only(path, OLD)


def test_saving_within_an_exception_reports_its_own_failure(tmp_path, monkeypatch):
    """A failed save raises its own error, also while another exception is handled."""

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
    """If flushing or renaming fails, the error names the file, and the old file is complete."""
    path = tmp_path / "model.pth"
    save_weights(path, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, function, full_disk)
        with pytest.raises(OSError, match=r"model\.pth"):
            save_weights(path, NEW)
    assert_only(path, OLD)


def test_writing_is_flushed_then_renamed_then_made_durable(tmp_path, monkeypatch):
    """The order is: flush the temporary file, rename it over the old file, flush the folder."""
    calls = []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(source, target):
        calls.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "x", "new")
    assert calls == ["file", "rename", "folder"]


def test_a_writing_function_that_fails_leaves_no_file(tmp_path):
    """An exception of the writing function is raised unchanged, and no file remains, not even a temporary one."""

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


def test_weights_load_unchanged(tmp_path):
    """Any dtype, scalars, empty tensors, views of one table, and plain numbers load unchanged with weights_only=True."""
    table = torch.nn.Parameter(torch.randn(6, 2))
    weights = {"a": table[:2], "b": table[2:], "n": torch.tensor(3), "h": torch.ones(2, dtype=torch.bfloat16), "e": torch.zeros(0), "v": 1}
    save_weights(tmp_path / "w", weights)
    loaded = torch.load(tmp_path / "w", weights_only=True)
    assert loaded["v"] == 1
    for name in "abnhe":
        assert torch.equal(loaded[name], weights[name])
        assert loaded[name].dtype == weights[name].dtype
        assert not loaded[name].requires_grad


def test_folders_are_created_and_tested(tmp_path):
    """make_folder creates missing folders, accepts existing ones, and leaves no file in them."""
    for _ in range(2):
        assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write into the folder: .*Choose another model_path.*file"):
        make_folder(tmp_path / "file")
