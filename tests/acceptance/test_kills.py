"""Runs that are killed, or asked to leave, as processes of their own; `make torture` kills 300, here it is 20."""

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
    """After each SIGKILL there is a whole best and a whole last save, and the run that goes on ends with the same bits."""
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
from test_resume_signals import strikes
from torch_rechub.basic.callback import GracefulStop
number = getattr(signal, sys.argv[1]) if sys.argv[1] != "notice" else None
callbacks = [GracefulStop(sys.argv[2])] if number is None else [strikes("on_batch_end", 2, number)]
zoo.trainer(model_path=sys.argv[3], callbacks=callbacks).fit(*zoo.loaders(), resume="auto")
"""


@pytest.mark.parametrize(("how", "status"), [("SIGTERM", 143), ("SIGINT", -signal.SIGINT), ("notice", 75)])
def test_the_process_leaves_with_a_status_that_says_why(how, status, tmp_path):
    """143, 75, and for Ctrl-C Python's own: dead of SIGINT, which a shell shows as 130."""
    notice = tmp_path / "notice"
    notice.touch()
    command = [sys.executable, "-c", SCRIPT, how, str(notice), str(tmp_path / "run")]
    left = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert left.returncode == status, left.stderr
    assert (tmp_path / "run" / "resume").is_dir()
