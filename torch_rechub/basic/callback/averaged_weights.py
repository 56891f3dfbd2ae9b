"""Averaged weights: the average is measured, kept and saved; training continues from its own weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.basic.layers.parameters import table_weights
from torch_rechub.storage import NATURAL, TENSORS, check_shape
from torch_rechub.torch_private import foreach_lerp_

__all__ = ["AveragedWeights"]


class AveragedWeights(Callback):
    """The common part of :class:`EMA` and :class:`SWA`; a subclass defines how much of the average an interval of steps keeps.

    ``average <- kept * average + (1 - kept) * weights``. Dense weights and all floating-point buffers (the statistics of batch norm) are
    averaged at each optimizer step. Embedding tables are averaged at each validation only, with the ``kept`` of all steps since the last
    one, so that a step costs what its batch touches. Between two validations a table's average therefore sees only the later weights.

    For a validation the averages replace the weights, without a copy. The training weights return when the validation is over. The best
    weights and ``model.pth`` are therefore averages that were measured. Where no validation had a finite value, the model ends with the
    averages of the last step.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.step = 0  # optimizer steps averaged
        self.tables_at = 0  # of which the tables have seen so many
        self.averages: dict[str, Tensor] = {}
        self._dense: dict[str, Tensor] | None = None
        self._tables: dict[str, Tensor] = {}
        self._training_data: list[tuple[Tensor, Tensor]] = []  # what the averages replace during a validation

    def kept(self, before: int, now: int) -> float:
        """The part of an average of ``before`` steps that is left after step ``now``; 0 where there was none."""
        raise NotImplementedError

    def averages_now(self, trainer: Training) -> bool:
        """Whether the weights of the present step count."""
        return True

    def check_settings(self, trainer: Training, validates: bool) -> None:
        if sum(isinstance(callback, AveragedWeights) for callback in trainer.callbacks) > 1:
            raise ValueError("Weights can be averaged in one way at a time: give the trainer one EMA or one SWA, not several.")

    def on_fit_begin(self, trainer: Training) -> None:
        self._reset()

    @torch.no_grad()
    def on_batch_end(self, trainer: Training) -> None:
        if not (trainer.state.stepped and self.averages_now(trainer)):
            return
        dense = self._dense_weights(trainer)
        self.step += 1
        if self.step == 1:
            self.averages = {name: weight.detach().clone() for name, weight in dense.items()}
        elif dense:
            averages = [self.averages[name] for name in dense]
            foreach_lerp_(averages, list(dense.values()), 1 - self.kept(self.step - 1, self.step))

    def _dense_weights(self, trainer: Training) -> dict[str, Tensor]:
        """What is averaged at each step; collected when first needed, since lazy layers are complete only after a first batch."""
        if self._dense is None:
            tables = {id(weight) for weight in table_weights(trainer.model)}
            trained = {name: weight for name, weight in trainer.named_parameters() if weight.requires_grad}
            self._tables = {name: weight for name, weight in trained.items() if id(weight) in tables}
            self._dense = {name: weight for name, weight in trained.items() if id(weight) not in tables}
            self._dense |= {name: buffer for name, buffer in trainer.named_buffers() if buffer.is_floating_point()}
            for name, weight in {**self._tables, **self._dense}.items():
                if name in self.averages:  # loaded from a save
                    self.averages[name] = self.averages[name].to(weight.device)
        return self._dense

    def _average_tables(self, trainer: Training) -> None:
        """Let the tables' averages see the steps since they last did."""
        trainer.settle_tables()
        self._dense_weights(trainer)
        kept = self.kept(self.tables_at, self.step)
        with torch.no_grad():
            for name, weight in self._tables.items():
                if self.tables_at == 0:
                    self.averages[name] = weight.detach().clone()
                elif self.tables_at < self.step:
                    self.averages[name].lerp_(weight, 1 - kept)
        self.tables_at = self.step

    def begin_measuring(self, trainer: Training) -> None:
        if self.step == 0:
            return
        self._average_tables(trainer)
        averaged = {**self._tables, **self._dense_weights(trainer)}
        self._training_data = [(weight, weight.data) for weight in averaged.values()]
        for name, weight in averaged.items():
            weight.data = self.averages[name]

    def end_measuring(self, trainer: Training) -> None:
        for weight, data in self._training_data:
            weight.data = data
        self._training_data = []

    def restore(self, trainer: Training) -> None:
        if self.step and trainer.history.best is None:
            self._average_tables(trainer)
            with torch.no_grad():
                for name, weight in {**self._tables, **self._dense_weights(trainer)}.items():
                    weight.copy_(self.averages[name])

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "tables_at": self.tables_at, "averages": dict(self.averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_shape(state, {"step": NATURAL, "tables_at": NATURAL, "averages": TENSORS})
        self.step, self.tables_at, self._dense = state["step"], state["tables_at"], None
        self.averages = {name: average.clone() for name, average in state["averages"].items()}
