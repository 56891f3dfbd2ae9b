"""What a callback is: hooks around the loop, each with the trainer as its only argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["HOOKS", "Callback"]

#: Every hook, in the order in which a run meets them first.
HOOKS = (
    "on_fit_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_backward_end",
    "on_batch_end",
    "on_validation_begin",
    "on_validation_batch_end",
    "on_validation_end",
    "on_save_end",
    "on_check_end",
    "on_epoch_end",
    "on_exception",
    "on_fit_end",
)


class Callback:
    """Whatever happens around the loop. A subclass overrides the hooks that it needs.

    Facts are read from ``trainer.state`` and ``trainer.history``; wishes go to ``trainer.request_stop(reason)``,
    ``trainer.request_validation()`` and ``trainer.request_save()``, which the loop answers between two optimizer steps.
    Callbacks run in list order and never talk to each other.

    Example:
        >>> class StopAtStep(Callback):
        ...     def __init__(self, n_step):
        ...         self.n_step = n_step
        ...
        ...     def on_batch_end(self, trainer):
        ...         if trainer.state.step == self.n_step:
        ...             trainer.request_stop(f"{self.n_step} steps were asked for")

    Attributes:
        needs_predictions: whether each check shall keep its ``y_true`` and ``y_pred`` in ``trainer.state.predictions``.
        needs_columns: the columns of the validation rows that shall be kept there as well.
    """

    needs_predictions: bool = False
    needs_columns: tuple[str, ...] = ()

    #: Whether the callback has a part in how the run goes; a mere onlooker may come and go when a run is gone on with.
    part_of_run: bool = True

    #: Whether it runs in each of several processes; one that writes or shows what is the same everywhere runs in one.
    every_rank: bool = True

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before anything is read or moved; a run starts fresh here."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Last of all, however the run ended."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before an epoch's first batch."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After an epoch's last batch and its check."""

    def on_batch_begin(self, trainer: Trainer) -> None:
        """Before a batch is read by the model."""

    def on_backward_end(self, trainer: Trainer) -> None:
        """When all gradients of a step are there, clipped, and before the optimizer moves the weights."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After a batch; the weights have moved unless gradients are being accumulated."""

    def on_validation_begin(self, trainer: Trainer) -> None:
        """Before a check."""

    def on_validation_batch_end(self, trainer: Trainer) -> None:
        """After each batch of a check."""

    def on_validation_end(self, trainer: Trainer) -> None:
        """When a check's metrics are known: the moment to decide."""

    def on_save_end(self, trainer: Trainer) -> None:
        """After a save that somebody asked for."""

    def on_check_end(self, trainer: Trainer) -> None:
        """After a check, its decision and its save: what was put in place for it goes back."""

    def on_exception(self, trainer: Trainer) -> None:
        """When the run breaks off; ``trainer.state.exception`` says by what until ``fit`` is left. ``on_fit_end`` follows."""

    def save(self, trainer: Trainer) -> None:
        """Write what this callback keeps on disk; called in the loop's save phase, when somebody asked for it."""

    def state_dict(self) -> dict[str, Any]:
        """What must be known to go on later; tensors, numbers, strings, lists and dicts only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
