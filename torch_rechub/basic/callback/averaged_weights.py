"""Weights averaged along the way: what is measured, kept and saved is the average, and training goes on from where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.layers.parameters import table_names

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["AveragedWeights"]


class AveragedWeights(Callback):
    """What :class:`EMA` and :class:`SWA` have in common; a subclass says how much of the average an interval keeps.

    ``average <- kept * average + (1 - kept) * weights``. Dense weights, and with them the statistics of batch norm (all floating-point
    buffers), are averaged at each optimizer step. Embedding tables are averaged at each check alone, with the ``kept`` of all steps since
    the last one: a step costs what its batch touches, and for a table the weights at checks stand for those between them.

    For a check the averages take the weights' place, without a copy, and the training weights come back when the check has been decided
    and saved, or is broken off. So the best weights and ``model.pth`` are averages that were measured as they are. Where no check has
    decided (no validation, or nothing finite), the model ends with the averages of the last step.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.step = 0  # optimizer steps averaged
        self.tables_at = 0  # of which the tables have seen so many
        self.averages: dict[str, Tensor] = {}
        self._dense: dict[str, Tensor] | None = None
        self._tables: dict[str, Tensor] = {}
        self._away: list[tuple[Tensor, Tensor]] = []  # what the averages took the place of
        self._n_record = 0

    def kept(self, before: int, now: int) -> float:
        """The part of an average of ``before`` steps that is left after step ``now``; 0 where there was none."""
        raise NotImplementedError

    def averages_now(self, trainer: Trainer) -> bool:
        """Whether the weights of the present step count."""
        return True

    def on_fit_begin(self, trainer: Trainer) -> None:
        if sum(isinstance(callback, AveragedWeights) for callback in trainer.callbacks) > 1:
            raise ValueError("Weights can be averaged in one way at a time: give the trainer one EMA or one SWA, not several.")
        self._forget()

    @torch.no_grad()
    def on_batch_end(self, trainer: Trainer) -> None:
        if not (trainer.state.stepped and self.averages_now(trainer)):
            return
        dense = self._live(trainer.model)
        self.step += 1
        if self.step == 1:
            self.averages = {name: weight.detach().clone() for name, weight in dense.items()}
        elif dense:
            averages = [self.averages[name] for name in dense]
            torch._foreach_lerp_(averages, list(dense.values()), 1 - self.kept(self.step - 1, self.step))

    def _live(self, model: nn.Module) -> dict[str, Tensor]:
        """What is averaged at each step; found when first needed, since lazy layers are complete only after a first batch."""
        if self._dense is None:
            tables = table_names(model)
            trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
            self._tables = {name: weight for name, weight in trained.items() if name in tables}
            self._dense = {name: weight for name, weight in trained.items() if name not in tables}
            self._dense |= {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}
            for name, weight in {**self._tables, **self._dense}.items():
                if name in self.averages:  # taken up from a save
                    self.averages[name] = self.averages[name].to(weight.device)
        return self._dense

    def _average_tables(self, trainer: Trainer) -> None:
        """Let the tables' averages see the steps since they last did."""
        trainer.settle_tables()
        self._live(trainer.model)
        kept = self.kept(self.tables_at, self.step)
        with torch.no_grad():
            for name, weight in self._tables.items():
                if self.tables_at == 0:
                    self.averages[name] = weight.detach().clone()
                elif self.tables_at < self.step:
                    self.averages[name].lerp_(weight, 1 - kept)
        self.tables_at = self.step

    def on_validation_begin(self, trainer: Trainer) -> None:
        if self.step == 0:
            return
        self._average_tables(trainer)
        self._n_record = len(trainer.history)
        live = {**self._tables, **self._live(trainer.model)}
        self._away = [(weight, weight.data) for weight in live.values()]
        for name, weight in live.items():
            weight.data = self.averages[name]

    def _put_back(self) -> None:
        for weight, data in self._away:
            weight.data = data
        self._away = []

    def on_check_end(self, trainer: Trainer) -> None:
        self._put_back()

    def on_exception(self, trainer: Trainer) -> None:
        if len(trainer.history) == self._n_record:  # else what was measured is still to be decided on: on_fit_end
            self._put_back()

    def on_fit_end(self, trainer: Trainer) -> None:
        undecided = bool(self._away)
        self._put_back()
        if self.step and (undecided or trainer.history.best is None):
            self._average_tables(trainer)
            with torch.no_grad():
                for name, weight in {**self._tables, **self._live(trainer.model)}.items():
                    weight.copy_(self.averages[name])

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "tables_at": self.tables_at, "averages": dict(self.averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._put_back()
        self.step, self.tables_at, self._dense = state["step"], state["tables_at"], None
        self.averages = {name: average.clone() for name, average in state["averages"].items()}
