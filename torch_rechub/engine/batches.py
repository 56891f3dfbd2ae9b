"""An epoch's batches, from wherever in it a run stands."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.data.loader import TableLoader
from torch_rechub.engine.random_state import get_random_state, set_random_state

__all__ = ["epoch_batches", "with_last"]

NOTHING = object()  #: in place of a batch, where there is none


def epoch_batches(loader: Iterable[Any], state: TrainerState) -> Generator[tuple[Any, bool], None, None]:
    """The batches of the present epoch that ``state`` has not read yet, each with whether it is the last.

    One of our loaders goes to any place at once. A foreign loader is made to draw the epoch again, from the random state in which the
    epoch began, and the batches that were read already are dropped. What a foreign loader draws must not depend on what the training
    of the dropped batches drew: an order that is fixed when the epoch begins, as torch's samplers fix it, does not.
    """
    return _with_last(_Reader(loader, state) if isinstance(loader, TableLoader) else _ForeignReader(loader, state))


def with_last(batches: Iterable[Any], state: TrainerState) -> Generator[tuple[Any, bool], None, None]:
    """Each batch of ``batches``, and whether it is the last one."""
    return _with_last(_Reader(batches, state, whole=True))


class _Reader:
    """Reads a loader's batches one by one. Waiting for one is a phase of the run, which may be broken off.

    Args:
        loader: yields batches; the first read opens it.
        state: says where to begin, and is told of the phase.
        whole: walk ``loader`` as it comes, from its first batch.
    """

    def __init__(self, loader: Iterable[Any], state: TrainerState, whole: bool = False) -> None:
        self.loader, self.state, self.whole = loader, state, whole
        self.walk: Iterator[Any] | None = None

    def open(self) -> Iterator[Any]:
        """The walk over the batches that are still to be read."""
        if isinstance(self.loader, TableLoader) and not self.whole:
            self.loader.set_epoch(self.state.epoch, self.state.batch)
        return iter(self.loader)

    def read(self) -> Any:
        """The next batch, or NOTHING."""
        self.state.phase = "wait"
        try:
            return self.next()
        finally:
            self.state.phase = "train"

    def next(self) -> Any:
        """As :meth:`read`, within the phase."""
        if self.walk is None:
            self.walk = self.open()
        return next(self.walk, NOTHING)

    def close(self) -> None:
        """Let go of the walk, and of its worker processes: at once, since an exception's traceback may hold on to it."""
        walk, self.walk = self.walk, None
        if walk is self.loader:  # an iterator of the user's own: it goes on where it is
            return
        close: Callable[[], None] | None = getattr(walk, "close", None)
        if close is None and not getattr(self.loader, "persistent_workers", False):
            close = getattr(walk, "_shutdown_workers", None)  # torch gives its iterators no public way
        if close is not None:
            close()


class _ForeignReader(_Reader):
    """Reads a loader that draws from the global random states, such that the same can be drawn again.

    ``state.epoch_random`` is where the epoch's draws begin, ``state.read_random`` where those of the batch that was read ahead began.
    """

    def open(self) -> Iterator[Any]:
        state = self.state
        if state.epoch_random is None:
            state.epoch_random = self._random()
        set_random_state(state.epoch_random, self.loader)
        walk = iter(self.loader)
        for _ in range(state.batch):
            next(walk, NOTHING)
        return walk

    def next(self) -> Any:
        """The next batch; a read that is broken off leaves the random states as if it had not begun."""
        before, goes_on = self._random(), self.walk is None and self.state.batch > 0
        try:
            if goes_on:  # the batches that were read are dropped, and the one read ahead is drawn as it was
                self.walk = self.open()
                set_random_state(self.state.read_random or before, self.loader)
            found = super().next()
        except BaseException:
            set_random_state(before, self.loader)
            raise
        if goes_on:
            set_random_state(before, self.loader)
        else:
            self.state.read_random = before
        return found

    def _random(self) -> dict[str, Any]:
        return get_random_state(self.loader, cuda=False)


def _with_last(reader: _Reader) -> Generator[tuple[Any, bool], None, None]:
    """Each batch, and whether it is the last one: known without a length by reading one ahead."""
    try:
        present = reader.read()
        while present is not NOTHING:
            following = reader.read()
            yield present, following is NOTHING
            present = following
    finally:
        reader.close()
