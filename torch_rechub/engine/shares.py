"""Which rows each process of a job reads, and what must be equal everywhere before it begins."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from torch_rechub.data.loader import TableLoader
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.inputs import length_of
from torch_rechub.engine.replica import spread_weights
from torch_rechub.storage.saves import tensor_digest

if TYPE_CHECKING:
    from torch_rechub.trainers.assembly import Assembly

__all__ = ["begin_together", "is_shared", "sampler_of", "sharing", "stands_in"]


@contextmanager
def sharing(loader: Iterable[Any], ranks: Ranks) -> Generator[None, None, None]:
    """Within, one of our loaders yields this rank's part of every batch; a foreign one is its owner's to share."""
    if ranks.alone or not isinstance(loader, TableLoader):
        yield
        return
    loader.share(ranks.rank, ranks.size)
    try:
        yield
    finally:
        loader.share(0, 1)


def sampler_of(loader: Any) -> Any:
    """The ``DistributedSampler`` of a foreign loader, or one like it; None where the loader is not shared by one."""
    samplers = (getattr(loader, "sampler", None), getattr(getattr(loader, "batch_sampler", None), "sampler", None))
    return next((sampler for sampler in samplers if hasattr(sampler, "num_replicas") and hasattr(sampler, "set_epoch")), None)


def is_shared(loader: Any) -> bool:
    """Whether each rank reads rows of its own from a loader."""
    return isinstance(loader, TableLoader) or sampler_of(loader) is not None


def stands_in(loader: Any, last: bool) -> bool:
    """Whether a batch, maybe the ``last`` of an epoch, is there to keep this rank in step and must not count."""
    return last and isinstance(loader, TableLoader) and loader.stands_in


def begin_together(trainer: Assembly, train: Any, val: Any) -> None:
    """Rank 0's weights and shuffling everywhere, random states that differ, and an error where the ranks were given different work.

    Raises:
        ValueError: naming what differs; when the number of batches is not known, since the ranks would wait for each other.
    """
    ranks = trainer.ranks
    if length_of(train) is None:
        raise ValueError("Several processes must read equally many batches, and the training loader has no length. Give it a __len__.")
    if isinstance(train, TableLoader) and train.seed_is_drawn:
        train.seed = ranks.of_first(lambda: train.seed)
    work = {"training data": _facts(train) | {"batches": length_of(train), "seed": getattr(train, "seed", None)}}
    work |= {"validation data": _facts(val), "trainer": trainer.settings() | {"device": None}}
    _check_alike(ranks.gather(work))
    spread_weights(trainer.model, ranks)
    seed = ranks.of_first(torch.initial_seed)
    if not ranks.first:  # or all would drop the same units
        torch.manual_seed((seed + ranks.rank * 0x9E3779B97F4A7C15) % 2**63)


def _facts(loader: Any) -> dict[str, Any]:
    """What must be equal; of a foreign loader each rank may have its own."""
    about: dict[str, Any] = {"loader": type(loader).__name__}
    if isinstance(loader, TableLoader):
        labels = {} if loader.table.y is None else {"y": loader.table.y}
        about |= {"rows": len(loader.table), "columns": list(loader.table.x), "batch_size": loader.batch_size}
        about |= {"labels": tensor_digest(labels)}
    return about


def _check_alike(facts: list[dict[str, dict[str, Any]]]) -> None:
    for rank, other in enumerate(facts):
        for what, values in other.items():
            for name, value in values.items():
                expected = facts[0][what].get(name)
                if value != expected:
                    raise ValueError(
                        f"All processes must be given the same work, of which each does its share: {name} ({what}) is {expected!r} on "
                        f"rank 0 and {value!r} on rank {rank}. Make the same trainer and loaders everywhere, with a seed where one splits."
                    )
