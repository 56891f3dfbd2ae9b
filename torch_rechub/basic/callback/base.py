"""The base class of callbacks: hooks around the training loop, each with the trainer as its only argument."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self

from torch_rechub.basic.callback.training import Training

__all__ = ["HOOKS", "STEPS_OF_THE_LOOP", "Callback"]

#: Every hook, in the order in which a run calls them first.
HOOKS = (
    "on_fit_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_backward_end",
    "on_batch_end",
    "on_validation_begin",
    "on_validation_batch_end",
    "on_new_best",
    "on_validation_end",
    "on_record",
    "on_epoch_end",
    "on_save",
    "on_exception",
    "on_fit_end",
)

#: Methods that are parts of the loop itself, called at fixed places before or after the hooks of all callbacks.
STEPS_OF_THE_LOOP = ("begin_measuring", "decide", "end_measuring", "save", "restore")


class Callback:
    """Code that runs around the training loop. A subclass overrides the hooks that it needs.

    Facts are read from ``trainer.state`` and ``trainer.history``. Changes are requested with ``trainer.request_stop(reason)``,
    ``trainer.request_validation()`` and ``trainer.request_save()``; the loop reads requests between two optimizer steps. Callbacks run in
    list order and do not call each other.

    A validation runs in fixed phases: measure, record, decide, ``on_new_best``, ``on_validation_end``. From ``on_validation_begin`` to the
    end of ``on_validation_end`` the model holds the weights that are measured (averages included); then the training weights return,
    ``on_record`` is called, ``on_epoch_end`` where the epoch is done, and the run is saved if a save was requested.

    Example:
        >>> class StopAtStep(Callback):
        ...     def __init__(self, n_step):
        ...         self.n_step = n_step
        ...
        ...     def on_batch_end(self, trainer):
        ...         if trainer.state.step == self.n_step:
        ...             trainer.request_stop(f"{self.n_step} steps were requested")

    Attributes:
        needs_predictions: whether each validation shall keep its ``y_true`` and ``y_pred`` in ``trainer.state.predictions``.
        needs_columns: the columns of the validation rows that shall be kept there as well.
        part_of_run: whether the outcome of the run depends on the callback. One that only observes may be added or removed when resuming.
        free_settings: names of constructor arguments that may differ when a run is resumed; all others must be equal.
        every_rank: whether the callback runs in each of several processes. One that writes or shows results runs in one.
    """

    needs_predictions: bool = False
    needs_columns: tuple[str, ...] = ()
    part_of_run: bool = True
    free_settings: frozenset[str] = frozenset()
    every_rank: bool = True
    _arguments: Mapping[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        callback = super().__new__(cls)
        callback._arguments = _arguments_of(callback, args, kwargs)
        return callback

    def on_fit_begin(self, trainer: Training) -> None:
        """Before the first batch is read. State of an earlier run is reset here."""

    def on_fit_end(self, trainer: Training) -> None:
        """After training, however it ended. The model already holds the best weights."""

    def on_epoch_begin(self, trainer: Training) -> None:
        """Before an epoch's first batch."""

    def on_epoch_end(self, trainer: Training) -> None:
        """After an epoch's last batch and its validation."""

    def on_batch_begin(self, trainer: Training) -> None:
        """Before the model reads a batch, which is ``trainer.state.current_batch``."""

    def on_backward_end(self, trainer: Training) -> None:
        """When the gradients of an optimizer step are complete and clipped, before the optimizer changes the weights.

        An optimizer that evaluates the gradient several times in one step (LBFGS) calls it once per evaluation.
        """

    def on_batch_end(self, trainer: Training) -> None:
        """After a batch. The weights have changed where ``trainer.state.stepped`` is True; otherwise gradients are being accumulated."""

    def on_validation_begin(self, trainer: Training) -> None:
        """Before a validation. The model holds the weights that will be measured."""

    def on_validation_batch_end(self, trainer: Training) -> None:
        """After each batch of a validation."""

    def on_new_best(self, trainer: Training) -> None:
        """When a validation is the best so far, before ``on_validation_end``. The model holds the best weights."""

    def on_validation_end(self, trainer: Training) -> None:
        """After a validation and its decision: ``trainer.state.metrics`` and ``trainer.state.is_best`` are known."""

    def on_record(self, trainer: Training) -> None:
        """When the record ``trainer.history[-1]`` is complete: after a validation, or after an epoch where there is no validation."""

    def on_save(self, trainer: Training) -> None:
        """After a save to resume from was written."""

    def on_exception(self, trainer: Training) -> None:
        """When an exception ends the run: ``trainer.state.exception``. ``on_fit_end`` follows."""

    def begin_measuring(self, trainer: Training) -> None:
        """Part of the loop: put the weights that are to be measured into the model, before ``on_validation_begin``."""

    def decide(self, trainer: Training) -> None:
        """Part of the loop: decide whether the validation just measured is the best and whether to stop."""

    def end_measuring(self, trainer: Training) -> None:
        """Part of the loop: put the training weights back, after ``on_validation_end`` or where a validation failed."""

    def save(self, trainer: Training) -> None:
        """Part of the loop: write what a resumed run needs, between two optimizer steps, when a save was requested."""

    def restore(self, trainer: Training) -> None:
        """Part of the loop: put the weights with which the run ends into the model, before ``on_fit_end``."""

    def settings(self, trainer: Training) -> dict[str, Any]:
        """The constructor's arguments by name, which must be equal when a run is resumed; see ``free_settings``.

        A number, text or None that is kept in an attribute of the argument's name is taken from there, so that a later assignment counts.
        A callback whose attributes change during a run overrides this.

        Args:
            trainer: resolves what depends on it, such as the direction of the monitored metric.
        """
        present = {name: getattr(self, name, value) for name, value in self._arguments.items()}
        scalar = (bool, int, float, str, type(None))
        return {name: present[name] if isinstance(present[name], scalar) else value for name, value in self._arguments.items()}

    def check_settings(self, trainer: Training, validates: bool) -> None:
        """Part of the loop: before ``on_fit_begin`` of any callback, refuse settings that do not fit the trainer. Nothing is changed.

        Args:
            trainer: whose metrics, model and callbacks are known; the run is not.
            validates: whether the run will have validation data.

        Raises:
            TypeError, ValueError: naming the setting, what must hold and the remedy.
        """

    def check_predictions(self, predictions: Mapping[str, Any]) -> None:
        """Part of the loop: before the first step, refuse rows that the callback cannot use, where it needs predictions.

        Args:
            predictions: what ``trainer.state.predictions`` will hold, with one row and a made-up prediction.

        Raises:
            ValueError: naming what must hold and the remedy.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs of this callback: tensors, numbers, strings, lists and dicts only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _arguments_of(callback: Callback, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor by name, with its defaults; nothing where they do not fit, which the constructor itself reports."""
    constructor = type(callback).__init__
    if constructor is object.__init__:
        return {}
    signature = inspect.signature(constructor)
    try:
        bound = signature.bind(callback, *args, **kwargs)
    except TypeError:  # also where a copy is made, which gets its attributes afterwards
        return {}
    bound.apply_defaults()
    (own, *_), named = signature.parameters, dict(bound.arguments)
    del named[own]
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(name)
    return named
