"""Memory limits: a run saves and ends before the system kills it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import torch

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.logs import warn_once

__all__ = ["MemoryWatch"]

logger = logging.getLogger(__name__)
_GROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
GB = 1e9


@named_arguments
class MemoryWatch(Callback):
    """Ends a run whose process approaches a memory limit, where it can be resumed by ``fit(..., resume="auto")``.

    The limit applies to the resident memory of this process (not of a loader's workers) and, on a GPU, to what torch has allocated there.
    Both are read without synchronization. Each record of the history gets ``memory_gb`` (and ``gpu_memory_gb``). Growth since the previous
    record is logged, as a warning where it exceeded 1 % for ``n_growth`` records in a row.

    Args:
        limit: a part of the memory that this process may use (the machine's, or its control group's), in (0, 1]; or a number of bytes.
        gpu_limit: likewise for the GPU; None is ``limit`` where that is a part.
        every: optimizer steps between two readings.
        n_growth: records in a row that grow before a warning.

    Raises:
        ValueError: when an argument has another type or is out of its range.

    Example:
        >>> MemoryWatch(limit=0.9), MemoryWatch(limit=8_000_000_000).bytes
        (MemoryWatch(limit=0.9), 8000000000)
    """

    part_of_run = False

    def __init__(self, limit: float | int = 0.9, *, gpu_limit: float | int | None = None, every: int = 50, n_growth: int = 5) -> None:
        every, n_growth = whole_number("MemoryWatch: every", every), whole_number("MemoryWatch: n_growth", n_growth)
        self.limit, self.gpu_limit, self.every, self.n_growth = limit, gpu_limit, every, n_growth
        self.bytes = _limit("limit", limit, memory_of_machine())
        if gpu_limit is not None:
            _limit("gpu_limit", gpu_limit, 1)
        self._last, self._n_grown = 0, 0

    def on_fit_begin(self, trainer: Training) -> None:
        self._last, self._n_grown = 0, 0

    def on_batch_end(self, trainer: Training) -> None:
        if not trainer.state.stepped or trainer.state.step % self.every:
            return
        used = memory_in_use()
        if used >= self.bytes:
            trainer.request_pause(f"memory limit: {used / GB:.2f} GB in use, {self.bytes / GB:.2f} GB allowed")
        if trainer.device.type == "cuda":
            self._read_gpu(trainer)

    def _read_gpu(self, trainer: Training) -> None:
        limit = self.gpu_limit
        if limit is None:
            limit = self.limit if isinstance(self.limit, float) else 1.0
        allowed = _limit("gpu_limit", limit, torch.cuda.get_device_properties(trainer.device).total_memory)
        used = torch.cuda.memory_allocated(trainer.device)
        if used >= allowed:
            trainer.request_pause(f"GPU memory limit: {used / GB:.2f} GB in use, {allowed / GB:.2f} GB allowed")

    def on_record(self, trainer: Training) -> None:
        used = memory_in_use()
        trainer.history.update_last(memory_gb=round(used / GB, 4))
        if trainer.device.type == "cuda":
            trainer.history.update_last(gpu_memory_gb=round(torch.cuda.max_memory_allocated(trainer.device) / GB, 4))
        growth = used - self._last if self._last else 0
        self._n_grown = self._n_grown + 1 if growth > 0.01 * used else 0
        logger.info("memory %.3f GB, %+.3f GB since the last validation", used / GB, growth / GB)
        if self._n_grown >= self.n_growth:
            message = "memory %.3f GB, %+.3f GB since the last validation; it has grown at %d validations in a row"
            warn_once(logger, "growth", message, used / GB, growth / GB, self._n_grown)
        self._last = used

    def __repr__(self) -> str:
        return f"MemoryWatch(limit={self.limit})"


def memory_in_use() -> int:
    """Resident bytes of this process; on systems other than Linux their peak so far."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def memory_of_machine() -> int:
    """Bytes that this process may use: the machine's memory, or less where its control group has a limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in map(Path, _GROUPS):
        text = path.read_text().strip() if path.is_file() else "max"
        limits += [int(text)] if text.isdigit() else []
    return min(limits)


def _limit(name: str, given: float | int, total: int) -> int:
    """A part of ``total`` (a float), or bytes (an integer)."""
    if isinstance(given, float) and 0 < given <= 1:
        return int(given * total)
    if isinstance(given, int) and not isinstance(given, bool) and given > 1:
        return given
    raise ValueError(f"MemoryWatch: {name} must be a part in (0, 1] such as 0.9, or a whole number of bytes; got {given!r}.")
