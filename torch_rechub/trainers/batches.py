"""An epoch's batches, from wherever in it a run stands."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from torch_rechub.data.loader import TableLoader
from torch_rechub.trainers.random_state import get_random_state, set_random_state
from torch_rechub.trainers.state import TrainerState

__all__ = ["epoch_batches", "with_last"]


def epoch_batches(loader: Iterable[Any], state: TrainerState) -> Generator[tuple[Any, bool], None, None]:
    """The batches of the present epoch that ``state`` has not read yet, each with whether it is the last.

    One of our loaders goes to any place at once. A foreign loader is made to draw the epoch again, from the random state in which the
    epoch began, and the batches that were read already are dropped.
    """
    if isinstance(loader, TableLoader):
        loader.set_epoch(state.epoch, state.batch)
        walk = iter(loader)
    else:
        walk = _drawn_again(loader, state)
    yield from with_last(walk, state)


def _drawn_again(loader: Any, state: TrainerState) -> Iterator[Any]:
    if state.batch == 0:
        state.epoch_random = get_random_state(loader)
        return iter(loader)
    now = get_random_state(loader)
    set_random_state(state.epoch_random or now, loader)
    walk = iter(loader)
    for _ in range(state.batch):
        next(walk, None)
    set_random_state({**now, "loader": get_random_state(loader)["loader"]}, loader)
    return walk


def with_last(batches: Iterable[Any], state: TrainerState) -> Generator[tuple[Any, bool], None, None]:
    """Each batch, and whether it is the last one: known without a length by reading one ahead. Waiting for data is a phase."""
    walk, nothing = iter(batches), object()

    def wait() -> Any:
        state.phase = "wait"
        following = next(walk, nothing)
        state.phase = "train"
        return following

    present = wait()
    while present is not nothing:
        following = wait()
        yield present, following is nothing
        present = following
