"""The requests of callbacks, of this process and of all processes together."""

from __future__ import annotations

from torch_rechub.basic.callback.state import Requests
from torch_rechub.engine.distributed import Ranks

__all__ = ["RequestQueue"]


class RequestQueue:
    """Collects requests until the loop handles them. The first reason of each kind is kept.

    In a run of several processes a request counts when it has been exchanged, so that all loops handle it at the same step.

    Args:
        ranks: the processes.

    Attributes:
        current: what the loop handles.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.current = Requests()
        self._local = self.current if ranks.is_single else Requests()

    @property
    def is_paused(self) -> bool:
        """Whether the run has been asked to pause."""
        return self.current.pause is not None

    def stop(self, reason: str) -> None:
        """Request the end of training."""
        self._local.merge(Requests(stop=reason or "a stop was requested"))

    def pause(self, reason: str, then: BaseException | None) -> None:
        """Request a pause, and what ``fit`` raises after it."""
        self._local.merge(Requests(pause=reason or "a pause was requested", then=then))

    def validation(self) -> None:
        """Request a validation."""
        self._local.validation = True

    def save(self, reason: str) -> None:
        """Request a save to resume from."""
        self._local.merge(Requests(save=reason or "a save was requested"))

    def exchange(self) -> None:
        """Add what was requested in any process to the current requests of all."""
        if self.ranks.is_single:
            return
        local, self._local = self._local, Requests()
        if any(map(any, self.ranks.all_gather_ints([bool(local)]))):
            for each in self.ranks.all_gather_objects(local):
                self.current.merge(each)
