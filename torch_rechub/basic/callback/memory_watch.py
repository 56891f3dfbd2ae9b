"""Memory, watched so that a run saves and ends before the system kills it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from torch_rechub.basic.callback.base import Callback

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["MemoryWatch"]

logger = logging.getLogger(__name__)
_GROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
GB = 1e9


class MemoryWatch(Callback):
    """Ends a run whose process nears a limit of memory, at a place where it can be gone on with by ``fit(..., resume="auto")``.

    What is watched is the resident memory of this process (not of a loader's workers) and, on a GPU, what torch has allocated there. Both
    are read without waiting for the device. Each record of the history gets ``memory_gb`` (and ``gpu_memory_gb``); growth since the
    check before is logged, as a warning where it went on for ``n_growth`` checks in a row by more than 1 % each.

    Args:
        limit: a part of the memory that this process may use (the machine's, or its control group's), in (0, 1]; or a number of bytes.
        gpu_limit: likewise for the GPU; None is ``limit`` where that is a part.
        every: look at every so many optimizer steps.
        n_growth: see above.

    Raises:
        ValueError: when an argument is not as above.

    Example:
        >>> MemoryWatch(limit=0.9), MemoryWatch(limit=8_000_000_000).bytes
        (MemoryWatch(limit=0.9), 8000000000)
    """

    part_of_run = False

    def __init__(self, limit: float | int = 0.9, *, gpu_limit: float | int | None = None, every: int = 50, n_growth: int = 5) -> None:
        if every < 1 or n_growth < 1:
            raise ValueError(f"MemoryWatch: every and n_growth must be >= 1; got every={every!r}, n_growth={n_growth!r}.")
        self.limit, self.gpu_limit, self.every, self.n_growth = limit, gpu_limit, every, n_growth
        self.bytes = _limit("limit", limit, memory_of_machine())
        if gpu_limit is not None:
            _limit("gpu_limit", gpu_limit, 1)
        self._last, self._n_grown = 0, 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._last, self._n_grown = 0, 0

    def on_batch_end(self, trainer: Trainer) -> None:
        if not trainer.state.stepped or trainer.state.step % self.every:
            return
        used = memory_in_use()
        if used >= self.bytes:
            trainer.request_pause(f"memory is short: {used / GB:.2f} GB in use, {self.bytes / GB:.2f} GB allowed")
        if trainer.device.type == "cuda":
            self._look_at_gpu(trainer)

    def _look_at_gpu(self, trainer: Trainer) -> None:
        limit = self.gpu_limit
        if limit is None:
            limit = self.limit if isinstance(self.limit, float) else 1.0
        allowed = _limit("gpu_limit", limit, torch.cuda.get_device_properties(trainer.device).total_memory)
        used = torch.cuda.memory_allocated(trainer.device)
        if used >= allowed:
            trainer.request_pause(f"GPU memory is short: {used / GB:.2f} GB in use, {allowed / GB:.2f} GB allowed")

    def on_validation_end(self, trainer: Trainer) -> None:
        self._note(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if not trainer.validates:
            self._note(trainer)

    def _note(self, trainer: Trainer) -> None:
        used = memory_in_use()
        trainer.history[-1]["memory_gb"] = round(used / GB, 4)
        if trainer.device.type == "cuda":
            trainer.history[-1]["gpu_memory_gb"] = round(torch.cuda.max_memory_allocated(trainer.device) / GB, 4)
        growth = used - self._last if self._last else 0
        self._n_grown = self._n_grown + 1 if growth > 0.01 * used else 0
        level = logging.WARNING if self._n_grown >= self.n_growth else logging.INFO
        more = f"; it has grown at {self._n_grown} checks in a row" if level == logging.WARNING else ""
        logger.log(level, "memory %.3f GB, %+.3f GB since the check before%s", used / GB, growth / GB, more)
        self._last = used

    def __repr__(self) -> str:
        return f"MemoryWatch(limit={self.limit})"


def memory_in_use() -> int:
    """Resident bytes of this process; where the system does not tell (it does on Linux), their peak so far."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def memory_of_machine() -> int:
    """Bytes that this process may use: the machine's memory, or less where its control group has a limit."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in map(Path, _GROUPS):
        text = path.read_text().strip() if path.is_file() else "max"
        found += [int(text)] if text.isdigit() else []
    return min(found)


def _limit(name: str, given: float | int, whole: int) -> int:
    """A part of ``whole`` (a float), or bytes (an integer)."""
    if isinstance(given, float) and 0 < given <= 1:
        return int(given * whole)
    if isinstance(given, int) and not isinstance(given, bool) and given > 1:
        return given
    raise ValueError(f"MemoryWatch: {name} must be a part in (0, 1] such as 0.9, or a whole number of bytes; got {given!r}.")
