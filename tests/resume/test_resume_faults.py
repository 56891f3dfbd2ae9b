"""A save that fails leaves the one before; a damaged one is named and refused; reading never runs code."""

from __future__ import annotations

import builtins
import errno
import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
from resuming import InterruptAt, Interrupted, Recipe, assert_same, result

from torch_rechub.basic.callback import Callback
from torch_rechub.storage import files as storage
from torch_rechub.storage import saves as saves_module
from torch_rechub.storage.saves import DamagedSaveError, SaveFolder

STATE = {"w": torch.arange(2000.0), "step": 3, "names": ("a", 1)}
FILES = ("tensors.safetensors", "state.json", "manifest.json")

#: Every system call that may fail in a save, by the module that looks it up.
CALLS = [
    (Path, "mkdir"),
    (Path, "touch"),
    (builtins, "open"),
    (os, "fsync"),
    (os, "replace"),
    (os, "rename"),
    (os, "open"),
    (storage, "save_file"),
]


def failing(monkeypatch, module, name, n, error):
    """The n-th call from now raises; the calls are counted."""
    real, seen = getattr(module, name), []

    def call(*arguments, **options):
        seen.append(arguments)
        if len(seen) == n:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, call)
    return seen


def error_of(function):
    try:
        function()
    except OSError as error:
        return error


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize(("module", "name"), CALLS, ids=[f"{module.__name__}.{name}" for module, name in CALLS])
def test_every_call_of_a_save_may_fail(module, name, code, tmp_path, monkeypatch, real_disk, caplog):
    """Where any call of a save fails, OSError names the reason and a file, the older save is complete; a finished one is no failure."""
    saves = SaveFolder(tmp_path)
    saves.write(STATE, {"run": "a"})
    with monkeypatch.context() as patch:
        calls = failing(patch, module, name, 0, None)
        saves.write(STATE, {"run": "a"})
    assert calls
    for n in range(1, len(calls) + 1):
        with monkeypatch.context() as patch:
            failing(patch, module, name, n, OSError(code, os.strerror(code)))
            before = int(saves.names()[-1][5:])
            raised = error_of(lambda: saves.write(STATE, {"run": "a"}))
        if raised is None:  # the save had its name, or the system cannot open or flush a folder
            assert name in ("open", "fsync")
            assert saves.names()[-1] == f"save-{before + 1:08d}"
            assert code == errno.EACCES or "could not be flushed to disk" in caplog.text
        else:
            assert raised.errno == code
            assert os.strerror(code) in str(raised)
            assert str(tmp_path) in str(raised.filename)
        assert_complete(saves)
    assert not list(tmp_path.glob("*.tmp"))


def assert_complete(saves):
    """There is a save, and every save that has a name can be read."""
    assert saves.names()
    for name in saves.names():
        state = saves.read(name)
        assert torch.equal(state["w"], STATE["w"])
        assert state["names"] == ("a", 1)


@pytest.mark.parametrize("room", [0, 10, 500])
@pytest.mark.parametrize("file", ["state.json", "manifest.json"])
def test_a_short_write_leaves_the_older_save(file, room, tmp_path, monkeypatch):
    """A disk that writes a part of a file only is reported, and the older save is complete."""
    saves = SaveFolder(tmp_path)
    saves.write(STATE, {})
    real = builtins.open

    class FullDisk:
        def __init__(self, inner):
            self.inner = inner

        def write(self, data):
            self.inner.write(data[:room])
            raise OSError(errno.ENOSPC, "No space left on device")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.inner.close()

    def opened(path, mode="r", *arguments, **options):
        opened_file = real(path, mode, *arguments, **options)
        return FullDisk(opened_file) if "w" in mode and file in str(path) else opened_file

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", opened)
        with pytest.raises(OSError, match=r"No space left on device.*Older saves are intact"):
            saves.write(STATE, {})
    assert saves.names() == ["save-00000001"]
    assert_complete(saves)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if tried.returncode:
        pytest.skip("a file system of one megabyte can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_older_save(small_disk):
    """The error gives the system's reason, the older save is complete, and saving works again when there is space."""
    saves = SaveFolder(small_disk)
    saves.write(STATE, {})
    (small_disk / "filler").write_bytes(bytes(800_000))
    with pytest.raises(OSError, match=r"No space left on device.*Older saves are intact") as raised:
        saves.write({**STATE, "large": torch.zeros(100_000)}, {})
    assert raised.value.errno == errno.ENOSPC
    assert_complete(saves)
    with pytest.raises(OSError, match=r"No space left on device.*model\.pth"):
        storage.save_weights(small_disk / "model.pth", {"w": torch.zeros(100_000)})
    with pytest.raises(OSError, match=r"No space left on device.*model\.safetensors"):
        storage.save_safetensors(small_disk / "model.safetensors", {"w": torch.zeros(100_000)})
    (small_disk / "filler").unlink()
    assert sorted(entry.name for entry in small_disk.iterdir()) == ["save-00000001"]
    saves.write({**STATE, "large": torch.zeros(100_000)}, {})
    assert_complete(saves)


def test_a_run_whose_disk_was_full_resumes(tmp_path, monkeypatch):
    """The run ends with the reason, and with space again it resumes from the save before, bit for bit."""
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "uninterrupted", None))

    class Fills(Callback):
        part_of_run = False

        def on_batch_end(self, trainer):
            if trainer.state.step == 5:
                monkeypatch.setattr(storage, "save_file", full)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context():
        with pytest.raises(OSError, match=r"No space left.*Older saves are intact.*save-0000000\d"):
            recipe.start(tmp_path / "run", None, Fills())
        monkeypatch.setattr(storage, "save_file", safetensors.torch.save_file)
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=8)), expected)


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_and_the_save_before_is_used(file, tmp_path, caplog):
    """A file with a flipped bit, cut short, emptied or removed is refused by its name, and the save before is used."""
    saves = SaveFolder(tmp_path)
    saves.write({**STATE, "step": 2}, {"run": "a"})
    path = tmp_path / saves.write(STATE, {"run": "a"}) / file
    good = path.read_bytes()
    places = sorted({0, 1, 7, 8, 9, len(good) // 3, len(good) // 2, len(good) - 2, len(good) - 1, *range(0, len(good), len(good) // 40)})
    damaged = [good[:i] + bytes([good[i] ^ (1 << (i % 8))]) + good[i + 1 :] for i in places]
    damaged += [b"", good[:1], good[: len(good) // 2], good[:-1], good + b"\0", None]
    for content in damaged:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DamagedSaveError, match=file):
            saves.read("save-00000002")
        caplog.clear()
        assert saves.newest()["step"] == 2
        assert file in caplog.text
    path.write_bytes(good)
    assert saves.newest()["step"] == 3


def test_when_every_save_is_damaged_each_is_named(tmp_path):
    """Where every save is damaged, an error names the files, and no new run begins."""
    recipe = Recipe(every=1)
    with pytest.raises(Interrupted):
        recipe.start(tmp_path, None, InterruptAt(2))
    saves = SaveFolder(tmp_path / "resume")
    for name in saves.names():
        (saves.folder / name / "state.json").write_text("{}")
    with pytest.raises(DamagedSaveError, match=r"No save in .* is good: .*save-00000002/state\.json is damaged.*Remove the folder"):
        recipe.start(tmp_path, "auto")
    shutil.rmtree(saves.folder)
    assert recipe.start(tmp_path, "auto").state.step == 8


class MaliciousPickle:
    """A pickle that would run code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("file", FILES)
def test_a_malicious_pickle_is_never_executed(file, tmp_path):
    """A pickle in place of any file, with a correct digest, is refused or an error and is not executed."""
    recipe, did = Recipe(every=1), tmp_path / "did"
    with pytest.raises(Interrupted):
        recipe.start(tmp_path, None, InterruptAt(2))
    payload = pickle.dumps(MaliciousPickle(did), protocol=2)
    (tmp_path / "model.pth").write_bytes(payload)
    folder = tmp_path / "resume"
    save = folder / SaveFolder(folder).names()[-1]
    (save / file).write_bytes(payload)
    if file != "manifest.json":
        manifest = json.loads((save / "manifest.json").read_text())
        manifest.pop("seal")
        manifest["files"][file] = saves_module.digest(save / file)
        (save / "manifest.json").write_text(saves_module._sealed(manifest))
    with pytest.raises(Exception, match=r"damaged|cannot be read|refused"):
        recipe.start(tmp_path, "auto")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "model.pth", weights_only=True)
    assert not did.exists()
