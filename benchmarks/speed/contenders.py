"""Who takes part, and a process for each of them."""

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
    """A contender's process ended when it should have answered; the message is the end of what it wrote."""


class Contender:
    """A process of its own, in its own environment, that takes a turn when asked.

    Args:
        name: one of ``SCRIPTS``.
        told: the ``setting.json`` to read.
        threads: of every library in it.
    """

    def __init__(self, name: str, told: Path, threads: int) -> None:
        self.name = name
        own = name.startswith("ours") or name == "floor"
        python = sys.executable if own else python_of(name)
        around = {name: value for name, value in os.environ.items() if own or name != "PYTHONPATH"}  # a peer must not find us there
        count = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long-lived as the process that writes it
        self._process = subprocess.Popen(
            [python, str(WORKERS / SCRIPTS[name]), str(told), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=told.parent,
            env={**around, **count, "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"},
        )
        self.ready = self._answer()

    def turn(self) -> dict[str, Any]:
        """One turn: what it took, as :class:`~workers.turns.Turns` says it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended; its answer, which does not come, says so
        return self._answer()

    def close(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise ContenderFailed(f"{self.name}: {self._log.read()[-1500:].strip()}")
        return json.loads(line)
