"""Loaders that are not ours: torch's DataLoader, lists, and any other iterable of batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from torch_rechub.basic.batch import split_batch
from torch_rechub.basic.features import Feature
from torch_rechub.data.protocol import length_of
from torch_rechub.data.random_state import get_random_state, set_random_state
from torch_rechub.data.unchanged import unchanged
from torch_rechub.data.walks import is_plain_iterator, walks_once, why_empty
from torch_rechub.storage import check_shape, tensor_digest
from torch_rechub.torch_private import has_live_workers, hide_live_workers, shutdown_of

__all__ = ["ForeignLoader"]

#: Loaders with persistent workers that a run is training on. Such a loader has one iterator, which a second iteration would begin anew.
_walked: WeakSet[Any] = WeakSet()
END = object()  #: in place of a batch, after the last one


class ForeignLoader:
    """An iterable of batches as a :class:`~torch_rechub.data.protocol.Loader`.

    Such a loader draws its order from the global random states. To resume within an epoch, the random state in which the epoch began is
    restored, the loader is iterated again, and the batches that were trained on are dropped. The order of the batches must not depend on
    numbers that training draws in between. An order that is fixed when the iteration begins, as torch's samplers fix it, does not.

    Args:
        loader: yields batches. Several processes need a sampler that gives each its own rows, such as ``DistributedSampler``, and a
            length.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self.sampler = _distributed_sampler(loader)
        self._epoch_state: dict[str, Any] | None = None  # the random states in which the present epoch began
        self._resumes = False
        self._read: list[Any] = []  # the first batch of a generator, read before the first step

    def __repr__(self) -> str:
        length = "unknown length" if self.n_batch is None else f"{self.n_batch:,} batch{'' if self.n_batch == 1 else 'es'}"
        return f"ForeignLoader({type(self.loader).__name__}, {length})"

    @property
    def n_batch(self) -> int | None:
        """Its length, where it has one."""
        return length_of(self.loader)

    @property
    def is_shared(self) -> bool:
        """Whether it has a distributed sampler."""
        return self.sampler is not None

    def share(self, rank: int, n_rank: int) -> None:
        """Does nothing: the user's sampler shares the rows."""

    def walk(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """The batches of the epoch; see :class:`ForeignLoader` for ``batch`` above 0."""
        if self.sampler is not None:
            self.sampler.set_epoch(epoch)
        if batch == 0 or not self._resumes:
            self._epoch_state = self._random_state()
        self._resumes = False
        return _Walk(self, batch, later=epoch > 0)

    def open(self, n_dropped: int, later: bool = False) -> Iterator[Any]:
        """Begin to iterate, and drop the first batches."""
        if later and getattr(self.loader, "persistent_workers", False) and not has_live_workers(self.loader):
            self._start_workers()
        if not n_dropped:
            return iter(self.loader)
        present = self._random_state()
        try:
            assert self._epoch_state is not None
            set_random_state(self._epoch_state, _generators(self.loader))
            iterator = iter(self.loader)
            for _ in range(n_dropped):
                next(iterator, END)
        finally:
            set_random_state({**present, "generators": []})  # the loader's own generators stay where the dropped batches left them
        return iterator

    def _start_workers(self) -> None:
        """Start persistent workers as the first epoch of a run does: a loader draws one random number more then than in later epochs."""
        present = self._random_state()
        iter(self.loader)
        set_random_state(present, _generators(self.loader))

    def in_order(self) -> Iterable[Any]:
        """The batches in the order in which the loader gives them."""
        read, self._read = self._read, []
        if getattr(self.loader, "persistent_workers", False) and self.loader in _walked:
            return _without_workers(self.loader)
        return chain(read, self.loader) if read else self.loader

    def check(self, features: Sequence[Feature], binary_labels: bool) -> None:
        """Does nothing: each batch is checked before it changes a weight, and the first one of validation data by :meth:`sample`."""

    @property
    def walks_once(self) -> bool:
        """Whether a second walk gives no batch; see :func:`~torch_rechub.data.walks.walks_once`."""
        return walks_once(self.loader)

    def sample(self) -> Any:
        """The first batch of validation data, read once more than the run reads it; None where that would change the run.

        The random states and what the loader holds are restored (:func:`~torch_rechub.data.unchanged.unchanged`), and worker processes
        that it starts are ended. The first batch of a generator is stored, and :meth:`in_order` gives it again. No other iterator can be
        set back.

        Raises:
            ValueError: when there is no batch.
        """
        is_iterator = is_plain_iterator(self.loader)
        if not is_iterator and (isinstance(self.loader, Iterator) or self.walks_once):
            return None
        with unchanged(self.loader):
            batch = next(iter(self.loader), END) if is_iterator else self._first_batch()
        if batch is END:
            raise ValueError(f"the loader yields no batch: there is nothing to evaluate.{why_empty(self.loader)} Give a list or a loader.")
        self._read = [batch] if is_iterator else []
        return batch

    def _first_batch(self) -> Any:
        hide_live_workers(self.loader)
        batches = iter(self.loader)
        try:
            return next(batches, END)
        finally:
            close: Any = shutdown_of(batches) or getattr(batches, "close", None)
            if close is not None:
                close()

    def n_row(self) -> int | None:
        """Number of rows of a walk; None where it is not known, or where several processes share them."""
        if isinstance(self.loader, list | tuple):
            labels = [split_batch(batch).y for batch in self.loader]
            return sum(len(y) for y in labels if y is not None)
        n_batch, size = self.n_batch, getattr(self.loader, "batch_size", None)
        n_sampled = length_of(getattr(self.loader, "sampler", None))
        if self.sampler is not None or n_batch is None or size is None or n_sampled is None:
            return None
        return n_batch * size if getattr(self.loader, "drop_last", False) else n_sampled

    def facts(self) -> dict[str, Any]:
        """Its class, and the sizes that it has as a torch ``DataLoader``."""
        rows, size = length_of(getattr(self.loader, "dataset", None)), getattr(self.loader, "batch_size", None)
        facts = {"loader": type(self.loader).__name__, "rows": rows, "batch_size": size, "batches": self.n_batch}
        return {name: value for name, value in facts.items() if value is not None}

    def fingerprint(self, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The kind of loader, its sizes, its data set, sampler and collate function, and a digest of the content where it is at hand.

        The content of a list of batches and of a ``TensorDataset`` is digested whole; another data set is compared by its class and its
        plain attributes.
        """
        dataset, collate = getattr(self.loader, "dataset", None), getattr(self.loader, "collate_fn", None)
        facts = {"loader": type(self.loader).__name__, "batches": self.n_batch, "rows": length_of(dataset)}
        facts |= {name: getattr(self.loader, name, None) for name in ("batch_size", "drop_last")}
        facts |= {"sampler": type(getattr(self.loader, "sampler", None)).__name__, "collate_fn": collate, "dataset": dataset}
        parts = self.loader if isinstance(self.loader, list | tuple) else getattr(dataset, "tensors", ())
        tensors = dict(_tensors_of("", parts))
        return {**facts, "content": tensor_digest(tensors) if tensors else None}

    def state_dict(self) -> dict[str, Any]:
        """The random states in which the present epoch began, and those of the loader's own generators now."""
        return {"epoch_state": self._epoch_state, "generators": [generator.get_state() for generator in _generators(self.loader)]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        check_shape(state, {"epoch_state": (None, dict), "generators": [Tensor]})
        self._epoch_state = state["epoch_state"]
        self._resumes = self._epoch_state is not None
        for generator, saved in zip(_generators(self.loader), state["generators"], strict=False):
            generator.set_state(saved)

    def _random_state(self) -> dict[str, Any]:
        return get_random_state(_generators(self.loader), cuda=False)


class _Walk(Iterator[Any]):
    """Iterates a foreign loader. A read that is interrupted leaves the random states as they were before it."""

    def __init__(self, source: ForeignLoader, n_dropped: int, later: bool) -> None:
        self.source, self.n_dropped, self.later = source, n_dropped, later
        self.batches: Iterator[Any] | None = None

    def __next__(self) -> Any:
        before = self.source._random_state()
        try:
            if self.batches is None:
                self.batches = self.source.open(self.n_dropped, self.later)
                if getattr(self.source.loader, "persistent_workers", False):
                    _walked.add(self.source.loader)
            return next(self.batches)
        except StopIteration:
            self._end()
            raise
        except BaseException:
            set_random_state(before, _generators(self.source.loader))
            raise

    def _end(self) -> None:
        if getattr(self.source.loader, "persistent_workers", False):
            _walked.discard(self.source.loader)

    def close(self) -> None:
        """Stop iterating and end the loader's worker processes at once, also where an exception's traceback refers to the iterator."""
        self._end()
        batches, self.batches = self.batches, None
        if batches is self.source.loader:  # an iterator of the user's: it keeps its position
            return
        close: Callable[[], None] | None = getattr(batches, "close", None)
        if close is None and not getattr(self.source.loader, "persistent_workers", False):
            close = shutdown_of(batches)
        if close is not None:
            close()


def _without_workers(loader: Any) -> Any:
    """The same batches, made in this process: for a validation on the loader that the run is training on."""
    alone = copy.copy(loader)
    alone.__dict__.update(num_workers=0, persistent_workers=False, prefetch_factor=None, _iterator=None)
    return alone


def _distributed_sampler(loader: Any) -> Any:
    """The ``DistributedSampler`` of a loader, or a sampler like it; None where there is none."""
    samplers = (getattr(loader, "sampler", None), getattr(getattr(loader, "batch_sampler", None), "sampler", None))
    return next((sampler for sampler in samplers if hasattr(sampler, "num_replicas") and hasattr(sampler, "set_epoch")), None)


def _generators(loader: Any) -> list[torch.Generator]:
    """The random generators of a loader and its samplers, each once."""
    holders = [loader, getattr(loader, "sampler", None), getattr(getattr(loader, "batch_sampler", None), "sampler", None)]
    generators = {id(g): g for holder in holders if isinstance(g := getattr(holder, "generator", None), torch.Generator)}
    return list(generators.values())


def _tensors_of(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors and arrays of numbers within lists, tuples and mappings, by their place."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield name, torch.from_numpy(np.ascontiguousarray(value))
    elif isinstance(value, Mapping):
        for key in value:
            yield from _tensors_of(f"{name}.{key}", value[key])
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _tensors_of(f"{name}.{i}", part)
