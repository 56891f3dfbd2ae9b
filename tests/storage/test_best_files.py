"""The index of the k best weights is read by its shape and its names, before the first step; nothing that it names otherwise is touched."""

from __future__ import annotations

import json
import os

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback, Checkpoint
from torch_rechub.storage import BestFiles

NESTED = "[" * 20_000 + "]" * 20_000
GOOD = {"file": "step-00000004.pth", "step": 4, "value": 0.5}
#: Contents of best.json that this library does not write.
ODD = {
    "empty": "",
    "cut": json.dumps([GOOD])[:-9],
    "no JSON": "best",
    "null": "null",
    "a number": "7",
    "a dict": json.dumps(GOOD),
    "nested": NESTED,
    "a list of lists": "[[]]",
    "a key is missing": '[{"step": 4, "value": 0.5}]',
    "not unicode": b"\xff\xfe[]",
    "a step that is text": json.dumps([{**GOOD, "step": "4"}]),
    "a step that is true": json.dumps([{**GOOD, "step": True}]),
    "a negative step": json.dumps([{**GOOD, "step": -4}]),
    "a value that is NaN": json.dumps([{**GOOD, "value": float("nan")}]),
    "a value that is text": json.dumps([{**GOOD, "value": "high"}]),
    "the file above": json.dumps([{**GOOD, "file": "../../victim.txt"}]),
    "the absolute file": None,
    "another file in the folder": json.dumps([{**GOOD, "file": "notes.txt"}]),
    "the index itself": json.dumps([{**GOOD, "file": "best.json"}]),
    "the file of another step": json.dumps([{**GOOD, "file": "step-00000005.pth"}]),
    "a file without a name": json.dumps([{**GOOD, "file": ""}]),
    "the file twice": json.dumps([GOOD, GOOD]),
    "too large": "[" + " " * (1 << 24) + "]",
}


def fit(folder, *callbacks):
    checkpoint = Checkpoint(keep_best=2)
    trainer = zoo.trainer(model_path=folder, n_epoch=1, callbacks=[*callbacks, checkpoint])
    trainer.fit(*zoo.loaders())
    return trainer


def assert_written(folder):
    """The index lists the best validation of the latest run only, and its file is there."""
    (entry,) = json.loads((folder / "best" / "best.json").read_text())
    assert entry["step"] == 4
    torch.load(folder / "best" / entry["file"], weights_only=True)


@pytest.mark.parametrize("name", ODD)
def test_an_index_of_another_kind_is_set_aside_and_no_file_is_deleted(name, tmp_path, caplog):
    """An odd index is renamed with a warning that names it, the run ends well, and every other file is as before."""
    folder, victim = tmp_path / "run", tmp_path / "victim.txt"
    (folder / "best").mkdir(parents=True)
    mine = [victim, folder / "best" / "notes.txt", folder / "best" / "step-00000005.pth"]
    for path in mine:
        path.write_text("mine")
    content = json.dumps([{**GOOD, "file": str(victim)}]) if ODD[name] is None else ODD[name]
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "best" / "best.json").write_bytes(content)
    fit(folder)
    assert [path.read_text() for path in mine] == ["mine"] * len(mine)
    assert (folder / "best" / "best.json.damaged").read_bytes() == content
    assert caplog.text.count("best.json was not written by this library or is damaged") == 1
    assert_written(folder)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_what_is_no_regular_file_is_set_aside(make, tmp_path, caplog):
    """A folder, a pipe or a link in place of the index is renamed, neither read nor followed."""
    (tmp_path / "best").mkdir()
    make(tmp_path / "best" / "best.json")
    fit(tmp_path)
    assert os.path.lexists(tmp_path / "best" / "best.json.damaged")
    assert "not a regular file" in caplog.text
    assert_written(tmp_path)


def test_two_damaged_indexes_are_both_kept(tmp_path):
    """A second damaged index does not replace the first one that was set aside."""
    (tmp_path / "best").mkdir()
    for text in ("one", "two"):
        (tmp_path / "best" / "best.json").write_text(text)
        fit(tmp_path)
    assert (tmp_path / "best" / "best.json.damaged").read_text() == "one"
    assert (tmp_path / "best" / "best.json.damaged1").read_text() == "two"


class Spoils(Callback):
    """Calls a function within the run."""

    part_of_run = False

    def __init__(self, function):
        self.function = function

    def on_batch_end(self, trainer):
        if trainer.state.step == 2:
            self.function()


@pytest.mark.parametrize("text", ["", "null", json.dumps([{**GOOD, "file": "../victim.txt"}]), None])
def test_an_index_that_is_damaged_within_a_run_does_not_end_it(text, tmp_path):
    """The index is read before the first step only: what happens to it later is mended by the next write."""
    index, victim = tmp_path / "run" / "best" / "best.json", tmp_path / "run" / "victim.txt"

    def damage():
        victim.write_text("mine")
        index.unlink(missing_ok=True) if text is None else index.write_text(text)

    fit(tmp_path / "run", Spoils(damage))
    assert victim.read_text() == "mine"
    assert_written(tmp_path / "run")


def test_a_link_with_the_name_of_weights_is_neither_ranked_nor_deleted(tmp_path):
    """An entry whose file is a link out of the folder leaves the ranking; the link and what it leads to stay."""
    victim = tmp_path / "victim.pth"
    victim.write_text("mine")
    folder = tmp_path / "best"
    files = BestFiles(folder, 2, "max")
    files.offer(4, 0.5, lambda: {})
    (folder / GOOD["file"]).unlink()
    (folder / GOOD["file"]).symlink_to(victim)
    again = BestFiles(folder, 2, "max")
    again.offer(8, 0.4, lambda: {})
    assert [entry["step"] for entry in json.loads((folder / "best.json").read_text())] == [8]
    assert (folder / GOOD["file"]).is_symlink()
    assert victim.read_text() == "mine"


def test_the_index_of_an_earlier_run_is_replaced_and_its_files_deleted(tmp_path):
    """A new run deletes the weights that the index of an earlier run lists, and nothing else."""
    files = BestFiles(tmp_path / "best", 3, "max")
    for step in (4, 8, 12):
        files.offer(step, step / 100, lambda: {})
    (tmp_path / "best" / "step-00000099.pth").write_text("not listed")
    fit(tmp_path)
    assert sorted(entry.name for entry in (tmp_path / "best").iterdir()) == ["best.json", "step-00000004.pth", "step-00000099.pth"]


def test_a_folder_with_the_name_of_weights_is_found_before_the_first_step(tmp_path):
    """A folder called step-00000004.pth would block a write: the error names it before training."""
    (tmp_path / "best" / "step-00000004.pth").mkdir(parents=True)
    seen = []
    with pytest.raises(OSError, match=r"a file must be written here.*a folder.*Move it away.*step-00000004\.pth"):
        fit(tmp_path, Spoils(lambda: seen.append(1)))
    assert seen == []
