"""What must be the same on all ranks before a run of several processes begins."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from torch_rechub.data.protocol import Loader
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.exchange import broadcast_weights

__all__ = ["align_ranks", "shared_loaders", "unshared"]


@contextmanager
def shared_loaders(ranks: Ranks, *loaders: Loader | None) -> Generator[None, None, None]:
    """Within, each of several processes reads its own rows of the loaders."""
    given = [] if ranks.is_single else [loader for loader in loaders if loader is not None]
    for loader in given:
        loader.share(ranks.rank, ranks.size)
    try:
        yield
    finally:
        for loader in given:
            loader.share(0, 1)


@contextmanager
def unshared(ranks: Ranks, loader: Loader) -> Generator[None, None, None]:
    """Within, the loader gives each process all rows, unless its user shares them by a distributed sampler."""
    if not ranks.is_single:
        loader.share(0, 1)
    try:
        yield
    finally:
        if not ranks.is_single:
            loader.share(ranks.rank, ranks.size)


def align_ranks(trainer: Any, train: Loader, val: Loader | None) -> None:
    """Give all ranks the weights and the shuffling of rank 0 and random states that differ, and compare what they were given.

    Raises:
        ValueError: naming what differs; or where the number of batches is not known, since the ranks would wait for each other.
    """
    ranks = trainer.ranks
    if train.n_batch is None:
        raise ValueError("Several processes must read equally many batches, and the training loader has no length. Give it a __len__.")
    states = ranks.all_gather_objects(train.state_dict())
    if all("seed" in state for state in states):
        train.load_state_dict(states[0])
    facts = {"training data": _common_facts(train), "validation data": None if val is None else _common_facts(val)}
    _compare(ranks.all_gather_objects({**facts, "trainer": trainer.settings() | {"device": None}}))
    broadcast_weights(trainer.objective, ranks)
    seed = ranks.from_first(torch.initial_seed)
    if not ranks.is_first:  # with equal states all ranks would drop the same units
        torch.manual_seed((seed + ranks.rank * 0x9E3779B97F4A7C15) % 2**63)


def _common_facts(loader: Loader) -> dict[str, Any]:
    """What must be equal: of a table everything; of a loader that the user shares, what does not depend on the rows."""
    facts = loader.fingerprint()
    return facts if "columns" in facts else {name: facts.get(name) for name in ("loader", "batches")}


def _compare(facts: list[dict[str, Any]]) -> None:
    for rank, other in enumerate(facts):
        for what, values in other.items():
            for name, value in (values or {}).items():
                expected = (facts[0][what] or {}).get(name)
                if value != expected:
                    raise ValueError(
                        f"All processes must be given the same work, of which each does its share: {name} ({what}) is {expected!r} on "
                        f"rank 0 and {value!r} on rank {rank}. Make the same trainer and loaders everywhere, with a seed where one splits."
                    )
