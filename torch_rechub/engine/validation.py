"""One validation: measure, record, decide; the model holds the weights that are measured meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.data.protocol import Loader
from torch_rechub.engine.context import RunContext

__all__ = ["Paused", "Validation"]


class Paused(BaseException):
    """Leaves the loop where no optimizer step is half done: during a wait for data, or in a validation, which is repeated later."""


class Validation:
    """Runs a validation in its fixed phases.

    Args:
        trainer: measures, and has the callbacks.
        state: is updated.
        loader: the validation data.
        record: adds a record with the measured metrics to the history.
        is_paused: whether the run has been asked to pause.
    """

    def __init__(
        self,
        trainer: RunContext,
        state: TrainerState,
        loader: Loader,
        record: Callable[[dict[str, float]], None],
        is_paused: Callable[[], bool],
    ) -> None:
        self.trainer, self.state, self.loader, self.record, self.is_paused = trainer, state, loader, record, is_paused
        self._undecided = False  # whether a validation has been recorded and not decided

    def __call__(self, within_epoch: bool) -> None:
        """Measure, record, decide and call the hooks; within an epoch or at its end."""
        state, callbacks = self.state, self.trainer.callbacks
        state.begin_validation(within_epoch)
        self.trainer.settle_tables()
        try:
            callbacks.call("begin_measuring")
            callbacks.call("on_validation_begin")
            self._measure()
            state.phase = "decide"
            self._decide()
            if state.is_best:
                callbacks.call("on_new_best")
            callbacks.call("on_validation_end")
        except BaseException:
            try:
                self._decide()  # an interrupt between measuring and deciding does not lose the best weights
            finally:
                callbacks.call_all("end_measuring")
            raise
        callbacks.call_all("end_measuring")
        callbacks.call("on_record")

    def _measure(self) -> None:
        state = self.state
        rows = self.trainer.callbacks.rows_to_keep()
        metrics = self.trainer.score(self.loader, rows, self._after_batch)
        state.end_measuring(metrics, None if rows is None else rows.state_dict())
        self.record(state.metrics)
        self._undecided = True

    def _decide(self) -> None:
        if self._undecided:
            self.trainer.callbacks.call("decide")
            self._undecided = False

    def _after_batch(self) -> None:
        """Between two batches the validation can be left if the run is to pause; several processes end it together."""
        self.trainer.callbacks.call("on_validation_batch_end")
        if self.is_paused() and self.trainer.ranks.is_single:
            raise Paused
