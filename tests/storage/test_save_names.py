"""Saves are numbered by names of exactly one form; whatever else lies in their folder is neither read, renamed nor deleted."""

from __future__ import annotations

import os
import shutil

import pytest
import zoo

from torch_rechub.storage.saves import DamagedSaveError, SaveFolder

#: Names that are nearly those of saves or of their temporary folders.
ODD = [
    *(
        "save-abc",
        "save-0000001",
        "save-000000012",
        "save--0000001",
        "Save-00000009",
        "save-00000007.txt",
        "xsave-00000007",
        "000x",
        "12.tmp",
    ),
    *("save-٠٠٠٠٠٠٠٧", "save-00000００９", "save-0000000²", "save-00000007.mine.tmp", "save-mine.tmp", "save-.tmp", "save-00000007.tmp"),
    *("save-99999999999999999999999", "step-abc", "save-00000007\n", "save-1e000000", "save-0x000007", ".save-00000007"),
]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_names_that_lie_beside_saves_are_left_alone(kind, tmp_path):
    """Saves are written, read and deleted as if nothing else were there."""
    saves = SaveFolder(tmp_path)
    for name in ODD:
        path = tmp_path / name
        path.write_text("mine") if kind == "file" else path.mkdir() if kind == "folder" else path.symlink_to("/etc")
    for n in range(1, 4):
        assert saves.write({"n": n}, {"run": "r"}) == f"save-0000000{n}"
        saves.prune(1, "r")
        assert saves.newest() == {"n": n}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*ODD, "save-00000003"])


def test_numbers_go_on_after_eight_digits(tmp_path):
    """The save after number 99999999 is the newest, and the ones before it are deleted."""
    saves = SaveFolder(tmp_path)
    shutil.copytree(tmp_path / saves.write({"n": 1}, {"run": "r"}), tmp_path / "save-99999999")
    assert saves.write({"n": 2}, {"run": "r"}) == "save-100000000"
    assert saves.newest() == {"n": 2}
    saves.prune(1, "r")
    assert saves.names() == ["save-100000000"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.write_text("mine"), lambda path: path.symlink_to("/etc")])
def test_what_has_the_name_of_a_save_and_is_no_folder_is_passed(make, tmp_path):
    """A file, a pipe or a link called as a save is no save, is not deleted, and its number is not used again."""
    saves = SaveFolder(tmp_path)
    saves.write({"n": 1}, {"run": "r"})
    make(tmp_path / "save-00000002")
    assert saves.newest() == {"n": 1}
    assert saves.write({"n": 3}, {"run": "r"}) == "save-00000003"
    saves.prune(1, "r")
    assert saves.names() == ["save-00000003"]
    assert os.path.lexists(tmp_path / "save-00000002")


@pytest.mark.parametrize("file", ["manifest.json", "state.json", "tensors.safetensors"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "link to a good file", "large"])
def test_a_file_of_a_save_must_be_a_regular_one(file, kind, tmp_path):
    """A folder, a pipe, a link, or a file of a terabyte in place of a save's file is refused at once, and the save before is used."""
    saves = SaveFolder(tmp_path)
    for n in (1, 2):
        saves.write({"n": n}, {"run": "r"})
    path, good = tmp_path / "save-00000002" / file, tmp_path / "good"
    shutil.move(path, good)
    if kind == "large":
        with open(path, "wb") as content:
            content.truncate(1 << 40)
    else:
        {"folder": os.mkdir, "pipe": os.mkfifo, "link": lambda path: path.symlink_to("/dev/zero")}.get(kind, lambda p: p.symlink_to(good))(
            path
        )
    with pytest.raises(DamagedSaveError, match=rf"save-00000002/{file}"):
        saves.read("save-00000002")
    assert saves.newest() == {"n": 1}


def test_a_run_resumes_among_odd_names(tmp_path):
    """A run whose folder holds odd names begins, saves and resumes."""
    for name in ODD:
        (tmp_path / "resume" / name).mkdir(parents=True)
    for n_epoch in (1, 2):
        trainer = zoo.trainer(model_path=tmp_path, n_epoch=n_epoch)
        trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.resumed
    assert trainer.state.step == 8
