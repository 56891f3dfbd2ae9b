"""Runs that are killed, or get a signal, in processes of their own; `make torture` kills 300 runs, and this file 20."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_killed_runs_lose_nothing():
    """After each SIGKILL model.pth and the last save are complete, and the resumed run ends with the same bits."""
    command = [sys.executable, "-W", "error", "-m", "benchmarks.torture", "--runs", "20", "--seed", "1"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    shown = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True, timeout=280)
    assert shown.returncode == 0, shown.stderr
    counts = json.loads(shown.stdout.splitlines()[-1])
    assert counts["runs"] == 20 <= counts["kills"]
    assert counts["within a save"] > 0


SCRIPT = """
import os, signal, sys
sys.path[:0] = ["tests", "tests/resume"]
import zoo
from test_resume_signals import sends_signal
from torch_rechub.basic.callback import GracefulStop
number = getattr(signal, sys.argv[1]) if sys.argv[1] != "notice" else None
callbacks = [GracefulStop(sys.argv[2])] if number is None else [sends_signal("on_batch_end", 2, number)]
zoo.trainer(model_path=sys.argv[3], callbacks=callbacks).fit(*zoo.loaders(), resume="auto")
"""


@pytest.mark.parametrize(("how", "status"), [("SIGTERM", 143), ("SIGINT", -signal.SIGINT), ("notice", 75)])
def test_the_exit_status_names_the_signal(how, status, tmp_path):
    """The status is 143 after SIGTERM, 75 after a notice file, and death by SIGINT after Ctrl-C."""
    notice = tmp_path / "notice"
    notice.touch()
    command = [sys.executable, "-c", SCRIPT, how, str(notice), str(tmp_path / "run")]
    left = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert left.returncode == status, left.stderr
    assert (tmp_path / "run" / "resume").is_dir()
