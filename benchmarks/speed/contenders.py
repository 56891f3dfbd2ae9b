"""The contenders, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import python_of

WORKERS = Path(__file__).parent / "workers"
SCRIPTS = {
    "ours": "run_ours.py",
    "ours-plain": "run_by_hand.py",
    "ours-fused": "run_by_hand.py",
    "existing": "run_existing.py",
    "deepctr-torch": "run_deepctr.py",
    "fuxictr": "run_fuxictr.py",
    "recbole": "run_recbole.py",
    "floor": "run_floor.py",
}
TAKE_DECAY = (
    "ours",
    "ours-plain",
    "ours-fused",
    "existing",
    "deepctr-torch",
)  #: coupled weight decay


class ContenderFailed(RuntimeError):
    """A contender's process ended before it gave a result; the message is the end of its output."""


class Contender:
    """A process of its own, in its own environment, that runs a turn on request.

    Args:
        name: one of ``SCRIPTS``.
        setting_file: the ``setting.json`` to read.
        threads: threads of every library in it.
    """

    def __init__(self, name: str, setting_file: Path, threads: int) -> None:
        self.name = name
        is_ours = name.startswith("ours") or name == "floor"
        python = sys.executable if is_ours else python_of(name)
        # a peer must not import our package
        environment = {name: value for name, value in os.environ.items() if is_ours or name != "PYTHONPATH"}
        count = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # open as long as the process that writes it
        self._process = subprocess.Popen(
            [python, str(WORKERS / SCRIPTS[name]), str(setting_file), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=setting_file.parent,
            env={**environment, **count, "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"},
        )
        self.ready = self._reply()

    def turn(self) -> dict[str, Any]:
        """One turn: its times, as :class:`~workers.turns.Turns` reports them."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended, which the missing result shows
        return self._reply()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise ContenderFailed(f"{self.name}: {self._log.read()[-1500:].strip()}")
        return json.loads(line)
