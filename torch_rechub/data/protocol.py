"""What the training loop needs of a loader, and how any iterable of batches gets it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol, runtime_checkable

from torch_rechub.basic.features import Feature

__all__ = ["Loader", "check_values_of", "facts_of", "length_of"]


@runtime_checkable
class Loader(Protocol):
    """Batches of an epoch, from any position in it. A class with these members is used by ``fit`` as it is.

    Our table loaders and torch's ``DataLoader``, lists and other iterables are wrapped by :func:`torch_rechub.data.as_loader`.
    """

    @property
    def n_batch(self) -> int | None:
        """Number of batches of an epoch (of one process); None where it is not known."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether each of several processes reads rows of its own."""
        ...

    def share(self, rank: int, n_rank: int) -> None:
        """Read only the rows of process ``rank`` of ``n_rank`` from now on; a loader that its user shares does nothing."""
        ...

    def walk(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """The batches of an epoch, beginning with number ``batch``.

        The order depends on the epoch and the loader's own state only. In a run of several processes the iterator of a process may end
        earlier than that of another one, which then has rows left.
        """
        ...

    def in_order(self) -> Iterable[Any]:
        """All rows once, in stored order where there is one, for evaluation; :meth:`walk` is not affected."""
        ...

    def check(self, features: Sequence[Feature], binary_labels: bool) -> None:
        """Check the values as far as they are known before training.

        Raises:
            ValueError: naming what must hold, the row and the remedy.
        """
        ...

    def fingerprint(self, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What identifies the data and its order, as plain values: compared before a run is resumed.

        Args:
            saved: the fingerprint of the run to resume; a seed that was drawn, not chosen, is taken from it.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to walk the rest of the present epoch."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        ...


def check_values_of(loader: Loader, features: Sequence[Feature]) -> None:
    """Check the features of all rows where the loader has them at hand, so that an error names the row of the table; for a prediction.

    Raises:
        ValueError: as :meth:`Loader.check`.
    """
    check = getattr(loader, "check_features", None)
    if callable(check):
        check(features)


def facts_of(loader: Loader) -> dict[str, Any]:
    """What a report and a logger tell of the data: what the loader's ``facts()`` gives, which ours have; else its class and length."""
    described: Any = loader
    if callable(getattr(described, "facts", None)):
        return described.facts()
    return {"loader": type(loader).__name__, "batches": loader.n_batch}


def length_of(loader: Any) -> int | None:
    """The length of a loader or data set; None where it does not know."""
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # a DataLoader over an iterable data set has a __len__ that raises
        return None
