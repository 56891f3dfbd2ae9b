"""A contender's side of the protocol: it runs on request and reports its times. It runs in every environment: numpy and torch only.

The driver writes "go"; the contender trains for one epoch of its ``fit``, validates, keeps its best weights, and replies with one line
of JSON. It waits between turns, so that contenders alternate within one run and other load of the machine affects all of them.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch


class Task:
    """The values of ``setting.json`` as attributes, and the rows: ``train`` and ``val`` are pairs of (columns, labels)."""

    def __init__(self, path):
        setting = json.loads(Path(path).read_text())
        self.__dict__.update(setting)
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        self.dense = [f"dense_{index}" for index in range(self.n_dense)]
        self.sparse = list(self.vocabularies)
        with np.load(self.data) as stored:
            columns = {name: stored[name] for name in (*self.dense, *self.sparse)}
            labels = stored["y"]
        cut = len(labels) - self.n_val
        self.train = {name: values[:cut] for name, values in columns.items()}, labels[:cut]
        self.val = {name: values[cut:] for name, values in columns.items()}, labels[cut:]

    def folder(self):
        """A folder of this contender, deleted after the run."""
        path = Path(self.data).with_name(f"worker-{os.getpid()}")
        path.mkdir()
        return path


class Turns:
    """Measures the phases of a turn: "train", "validate", and "keep" for all other time."""

    def __init__(self):
        self._replies = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # output of libraries goes to stderr
        self._start = time.process_time()
        self._phases, self._running = {}, False

    def begin(self):
        """Wait for the driver; end the process where there are no more turns."""
        if not self._running:
            self._say(prepare=time.process_time() - self._start)
        if sys.stdin.readline().strip() != "go":
            os._exit(0)
        self._running, self._phases = True, {}
        self._last = time.process_time(), time.perf_counter()

    def mark(self, phase):
        """Count the time since the last mark as ``phase``."""
        now = time.process_time(), time.perf_counter()
        spent = self._phases.get(phase, (0.0, 0.0))
        self._phases[phase] = spent[0] + now[0] - self._last[0], spent[1] + now[1] - self._last[1]
        self._last = now

    def end(self, **facts):
        """Report the times of the turn."""
        self.mark("keep")
        self._say(phases=self._phases, **facts)

    def end_if_begun(self, **facts):
        """For contenders whose turn ends where the next one begins."""
        if self._running:
            self.end(**facts)

    def _say(self, **facts):
        facts["peak_mb"] = peak_mb()
        self._replies.write(json.dumps(facts) + "\n")


def peak_mb():
    """The largest resident size of this process; where the system reports it, without that of the driver that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
