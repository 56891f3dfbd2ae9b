"""Laws of the examples: each runs as it is, and writes the files that it announces."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Arguments, and what the output must say.
RUNS = {
    "adult_deepfm": (["--quick"], "Test AUC: DeepFM 0."),
    "custom_loop": ([], "of these very weights"),
    "learning_rate_schedules": ([], "OneCycleLR"),
    "custom_callback": ([], "mean gradient norm"),
}


def run(name: str, folder: Path) -> str:
    """What an example prints when it runs in ``folder``, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *RUNS[name][0]]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_are_all_run():
    """Every example is run in this file."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RUNS)


@pytest.mark.parametrize("name", [name for name in RUNS if name != "adult_deepfm"])
def test_examples_run_and_write_no_file(name: str, tmp_path: Path):
    """An example ends with status 0, prints what it did, and writes no file."""
    assert RUNS[name][1] in run(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_examples_demo_writes_its_files(tmp_path: Path):
    """The demo prints both test AUCs and writes the curves, one line of history a validation, and weights that load."""
    shown = run("adult_deepfm", tmp_path)
    assert RUNS["adult_deepfm"][1] in shown
    assert "logistic regression 0." in shown
    output = tmp_path / "demo_output"
    assert sorted(path.name for path in output.iterdir()) == ["history.jsonl", "learning_curves.png", "model.pth"]
    assert (output / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    records = [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]
    assert [record["is_best"] for record in records] == [True, True]
    assert "embedding.embed_dict.occupation.weight" in torch.load(output / "model.pth", weights_only=True)
