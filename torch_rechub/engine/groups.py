"""The batches of an epoch, in groups of one optimizer step each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.data.protocol import Loader

__all__ = ["batch_groups"]

END = object()  #: in place of a batch, after the last one


def batch_groups(loader: Loader, state: TrainerState, first_epoch: int, accumulate: int, several: bool) -> Iterator[tuple[list[Any], int]]:
    """The rest of an epoch: groups of batches, each with the number of batches of the epoch that are done after it.

    Args:
        loader: the training data.
        state: tells where the run is; its phase is "wait" while a batch is read.
        first_epoch: the epoch of the data with which the run began.
        accumulate: batches of an optimizer step; the last group of an epoch may have fewer.
        several: whether several processes train. Each then gets the same number of groups; one without rows left gets empty groups.
    """
    n_batch = loader.n_batch if several else None
    walk = loader.walk(first_epoch + state.epoch, state.batch)
    done = state.batch
    try:
        while n_batch is None or done < n_batch:
            size = accumulate if n_batch is None else min(accumulate, n_batch - done)
            group = _read(walk, size, state)
            if not group and n_batch is None:
                return
            done += len(group) if n_batch is None else size
            yield group, done
    finally:
        close = getattr(walk, "close", None)
        if close is not None:
            close()


def _read(walk: Iterator[Any], n: int, state: TrainerState) -> list[Any]:
    """At most ``n`` batches. Waiting for one is a phase of the run, in which it can be paused."""
    group: list[Any] = []
    state.phase = "wait"
    try:
        while len(group) < n and (batch := next(walk, END)) is not END:
            group.append(batch)
    finally:
        state.phase = "train"
    return group
