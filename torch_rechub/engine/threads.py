"""Whether torch's threads find free cores. Where they do not, they wait for each other at every operation."""

from __future__ import annotations

import logging
import os

import torch

__all__ = ["warn_of_busy_cores"]

logger = logging.getLogger(__name__)
_warned: set[int] = set()  # processes that were told


def warn_of_busy_cores(device: torch.device) -> None:
    """Say once a process that torch uses several threads on a machine whose cores are busy.

    The operations of a recommender model are short. Threads of OpenMP spin until the last of them is done, so one that waits for a core
    makes all others wait: ``python -m benchmarks.quick_start`` measures about ten times the time of one thread.
    """
    n_thread, n_core = torch.get_num_threads(), os.cpu_count() or 1
    if device.type != "cpu" or n_thread == 1 or os.getpid() in _warned or not hasattr(os, "getloadavg"):
        return
    load = os.getloadavg()[0]
    if load + n_thread > n_core + 0.5:
        _warned.add(os.getpid())
        logger.warning(
            "torch computes with %d threads on %d cores, which are busy (load %.1f): short operations can take ten times as long as with "
            "one thread. Call torch.set_num_threads(1) before training, or set OMP_NUM_THREADS=1.",
            n_thread,
            n_core,
            load,
        )
