"""The callbacks of one trainer, called in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch_rechub.basic.callback.base import HOOKS, Callback
from torch_rechub.basic.metric.kept_rows import KeptRows

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["CallbackList", "with_built_ins"]

logger = logging.getLogger(__name__)


def with_built_ins(given: Sequence[Callback], built_in: Sequence[Callback]) -> list[Callback]:
    """The user's callbacks, then the built-in ones; a user's instance of a built-in's class takes its place.

    Raises:
        TypeError: when something given is no callback.
    """
    for callback in given:
        if not isinstance(callback, Callback):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"callbacks must be instances of torch_rechub.basic.callback.Callback, such as EarlyStopper(3); got {callback!r}."
            )
    last = [next((callback for callback in given if isinstance(callback, type(own))), own) for own in built_in]
    return [callback for callback in given if not any(callback is own for own in last)] + last


class CallbackList:
    """Calls one hook of every callback that has it; between :meth:`begin` and the end of ``on_fit_end`` only.

    Args:
        callbacks: in the order in which they run.
        trainer: what every hook gets.
        first: False in a process where those that one process alone needs are not called.
    """

    def __init__(self, callbacks: Sequence[Callback], trainer: Trainer, first: bool = True) -> None:
        self.callbacks = list(callbacks)
        self._called = [callback for callback in self.callbacks if first or callback.every_rank]
        self._trainer = trainer
        self._running: list[Callback] = []
        self._listeners: dict[str, list[Callable[[Any], None]]] = {hook: _listeners(self._called, hook) for hook in (*HOOKS, "save")}

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def call(self, hook: str) -> None:
        """Call ``hook``; the first callback that raises ends it, and its name goes with the error."""
        if self._running:
            for listener in self._listeners[hook]:
                self._call(listener)

    def wanted_rows(self) -> KeptRows | None:
        """What keeps a check's labels and predictions, where a callback needs them, with the columns that it needs besides."""
        asking = [callback for callback in self._running if callback.needs_predictions]
        columns = dict.fromkeys(name for callback in asking for name in callback.needs_columns)
        return KeptRows(list(columns)) if asking else None

    def begin(self) -> None:
        """Call ``on_fit_begin``; only who began without an error will be told of the end."""
        self._running = []
        for callback in self._called:
            for listener in _listeners([callback], "on_fit_begin"):
                self._call(listener)
            self._running.append(callback)

    def end(self, hook: str) -> None:
        """Call ``hook`` of everybody who began, also after one raised; the first error is raised at the end."""
        first: BaseException | None = None
        for listener in _listeners(self._running, hook):
            try:
                self._call(listener)
            except BaseException as error:
                first = first or error
        if hook == "on_fit_end":
            self._running = []
        if first is not None:
            raise first

    def _call(self, listener: Callable[[Any], None]) -> None:
        try:
            listener(self._trainer)
        except Exception as error:
            _name(error, listener)
            raise


def _listeners(callbacks: Sequence[Callback], hook: str) -> list[Callable[[Any], None]]:
    """The bound methods of those that override ``hook``."""
    return [getattr(own, hook) for own in callbacks if getattr(type(own), hook) is not getattr(Callback, hook)]


def _name(error: BaseException, listener: Any) -> None:
    where = f"{type(listener.__self__).__name__}.{listener.__name__}"
    logger.error("callback %s raised %s: %s", where, type(error).__name__, error)
    if hasattr(error, "add_note"):
        error.add_note(f"raised by the callback {where}")  # type: ignore[attr-defined]
