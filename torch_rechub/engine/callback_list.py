"""The callbacks of one trainer, called in order."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from torch_rechub.basic.callback import Checkpoint, EarlyStopper, LearningRate, MetricLog
from torch_rechub.basic.callback.base import HOOKS, STEPS_OF_THE_LOOP, Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.basic.metric.kept_rows import KeptRows

__all__ = ["CallbackList", "overrides", "with_built_ins"]

logger = logging.getLogger(__name__)
RENAMED = {"on_check_end": "on_record", "on_save_end": "on_save"}  #: hooks of earlier states of this package


def with_built_ins(given: Sequence[Callback], built_in: Mapping[type[Callback], Callback | None]) -> list[Callback]:
    """The user's callbacks, then the built-in ones; a user's instance of a built-in class takes the built-in's position.

    Args:
        given: the user's, in order.
        built_in: class -> the built-in instance, or None where there is none unless the user gives one.

    Raises:
        TypeError: when something given is no callback, or defines an ``on_...`` method that is no hook.
    """
    for callback in given:
        if not isinstance(callback, Callback):  # pyright: ignore[reportUnnecessaryIsInstance]
            wrong: Any = callback
            remedy = f" Make one: {wrong.__name__}(...)." if isinstance(wrong, type) else ""
            raise TypeError(
                f"callbacks must be instances of torch_rechub.basic.callback.Callback, such as EarlyStopper(3); got {callback!r}.{remedy}"
            )
        _check_hooks(callback)
    chosen = [next((callback for callback in given if isinstance(callback, kind)), default) for kind, default in built_in.items()]
    last = [callback for callback in chosen if callback is not None]
    return [callback for callback in given if not any(callback is other for other in last)] + last


#: Classes of the built-in callbacks that may be assigned, in the order in which they run.
ASSIGNABLE = (EarlyStopper, LearningRate, Checkpoint, MetricLog)


class CallbackList(Sequence[Callback]):
    """Calls one hook of every callback that overrides it; only between :meth:`begin` and the end of ``on_fit_end``.

    Args:
        callbacks: in the order in which they run.
        trainer: the argument of every hook.
        is_first: False in a process where callbacks that run in one process only are not called.
    """

    def __init__(self, callbacks: Sequence[Callback], trainer: Training, is_first: bool = True) -> None:
        self._callbacks, self._is_first = list(callbacks), is_first
        self._called = [callback for callback in self._callbacks if is_first or callback.every_rank]
        self._trainer = trainer
        self._begun: list[Callback] = []
        self._listeners = {hook: _listeners(self._called, hook) for hook in (*HOOKS, *STEPS_OF_THE_LOOP)}

    def __iter__(self) -> Iterator[Callback]:
        return iter(self._callbacks)

    def __len__(self) -> int:
        return len(self._callbacks)

    def __getitem__(self, index: Any) -> Any:
        return self._callbacks[index]

    def with_part(self, kind: type[Callback], callback: Callback | None) -> CallbackList:
        """The list with another callback, or none, in the built-in position of a class.

        Args:
            kind: one of the built-in classes.
            callback: an instance of it.
        """
        if callback is not None:
            _check_hooks(callback)
        places = {place: max((i for i, c in enumerate(self._callbacks) if isinstance(c, place)), default=None) for place in ASSIGNABLE}
        present = places[kind]  # type: ignore[index]
        before = [i for place, i in places.items() if i is not None and ASSIGNABLE.index(place) < ASSIGNABLE.index(kind)]
        at = max(before, default=-1) + 1 if present is None else present
        rest = [c for i, c in enumerate(self._callbacks) if i != present]
        return CallbackList([*rest[:at], *([] if callback is None else [callback]), *rest[at:]], self._trainer, self._is_first)

    def call(self, hook: str) -> None:
        """Call ``hook``. The first callback that raises ends it, and its name is added to the error."""
        if self._begun:
            for listener in self._listeners[hook]:
                self._call(listener)

    def rows_to_keep(self, begun: bool = True) -> KeptRows | None:
        """Collects the labels, predictions and columns of a validation for the callbacks that need them; None where none does.

        Args:
            begun: whether only the callbacks of the present run are asked; False before a run.
        """
        needing = [callback for callback in (self._begun if begun else self._called) if callback.needs_predictions]
        columns = dict.fromkeys(name for callback in needing for name in callback.needs_columns)
        return KeptRows(list(columns)) if needing else None

    def check_settings(self, validates: bool) -> None:
        """Let every callback refuse settings that do not fit the trainer: see :meth:`Callback.check_settings`.

        Raises:
            TypeError, ValueError: naming the callback.
        """
        for callback in self._called:
            try:
                callback.check_settings(self._trainer, validates)
            except (TypeError, ValueError) as error:
                name = type(callback).__name__
                if name in str(error):
                    raise
                raise type(error)(f"{name}: {error}") from error.__cause__

    def check_predictions(self, predictions: Mapping[str, Any]) -> None:
        """Show the callbacks that need predictions what a validation will keep: see :meth:`Callback.check_predictions`."""
        for callback in self._called:
            if callback.needs_predictions:
                callback.check_predictions(predictions)

    def begin(self) -> None:
        """Call ``on_fit_begin``. A callback whose ``on_fit_begin`` raised gets no further calls; its error is not logged: it ends fit."""
        self._begun = []
        for callback in self._called:
            for listener in _listeners([callback], "on_fit_begin"):
                self._call(listener, log=False)
            self._begun.append(callback)

    def call_all(self, hook: str) -> None:
        """Call ``hook`` of every callback that began, also after one raised; the first error is raised at the end."""
        first: BaseException | None = None
        for listener in _listeners(self._begun, hook):
            try:
                self._call(listener)
            except BaseException as error:
                first = first or error
        if hook == "on_fit_end":
            self._begun = []
        if first is not None:
            raise first

    def _call(self, listener: Callable[[Any], None], log: bool = True) -> None:
        try:
            listener(self._trainer)
        except Exception as error:
            _add_note(error, listener, log)
            raise


def _check_hooks(callback: Callback) -> None:
    """A method ``on_...`` that is no hook would never be called: refuse it, and name the hook that was perhaps meant."""
    for name in dir(type(callback)):
        if name.startswith("on_") and name not in HOOKS:
            meant = RENAMED.get(name) or next(iter(get_close_matches(name, HOOKS, n=1)), None)
            remedy = f"Did you mean {meant}?" if meant else f"Hooks are {', '.join(HOOKS)}."
            raise TypeError(f"{type(callback).__name__}.{name} is not a hook and would never be called. {remedy} Rename the method.")

    for name in (*HOOKS, *STEPS_OF_THE_LOOP):
        if overrides(callback, name):
            _check_signature(callback, name)


def _check_signature(callback: Callback, name: str) -> None:
    """A hook is called with the trainer alone."""
    try:
        inspect.signature(getattr(callback, name)).bind(None)
    except TypeError:
        where = f"{type(callback).__name__}.{name}"
        raise TypeError(f"{where} must take the trainer as its only argument: def {name}(self, trainer).") from None
    except ValueError:  # a function without a signature
        return


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback's class overrides ``hook``."""
    return getattr(type(callback), hook) is not getattr(Callback, hook)


def _listeners(callbacks: Sequence[Callback], hook: str) -> list[Callable[[Any], None]]:
    """The bound methods of the callbacks that override ``hook``."""
    return [getattr(callback, hook) for callback in callbacks if overrides(callback, hook)]


def _add_note(error: BaseException, listener: Any, log: bool) -> None:
    where = f"{type(listener.__self__).__name__}.{listener.__name__}"
    if log:
        logger.error("callback %s raised %s: %s", where, type(error).__name__, error)
    if hasattr(error, "add_note"):
        error.add_note(f"raised by the callback {where}")  # type: ignore[attr-defined]
