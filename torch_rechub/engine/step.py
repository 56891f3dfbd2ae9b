"""One optimizer step: sizes, forward and backward passes, exchange between processes, and the change of the weights."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.engine.callback_list import CallbackList
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.exchange import Exchange
from torch_rechub.engine.gradients import Gradients
from torch_rechub.engine.mean_loss import MeanLoss
from torch_rechub.engine.objective import Objective, Size
from torch_rechub.torch_private import kept_for_several_backward_passes

__all__ = ["OptimizerStep", "autocast"]


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context in which forward passes run: torch's autocast for "bf16", none for "fp32"."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


class OptimizerStep:
    """Trains on the batches of one optimizer step.

    Accumulating k batches, or reading them in k processes, gives the gradient of one batch k times as large, also where batches differ
    in size or rows are weighted: the totals of all batches are known before the first forward pass.

    Args:
        objective: what is optimized.
        forward: the objective, or its compiled form.
        optimizer: changes its parameters.
        callbacks: are called at each batch.
        state: is updated.
        mean_loss: gets the loss of the step.
        ranks: the processes.
        device: where the model is.
        clip_norm: largest 2-norm of all gradients together.
        precision: "fp32" or "bf16".
    """

    def __init__(
        self,
        objective: Objective,
        forward: nn.Module,
        optimizer: torch.optim.Optimizer,
        callbacks: CallbackList,
        state: TrainerState,
        mean_loss: MeanLoss,
        ranks: Ranks,
        device: torch.device,
        clip_norm: float | None = None,
        precision: str = "fp32",
    ) -> None:
        self.objective, self.module, self.optimizer, self.callbacks = objective, forward, optimizer, callbacks
        self.state, self.mean_loss, self.ranks, self.device, self.precision = state, mean_loss, ranks, device, precision
        self.exchange = Exchange(objective, ranks)
        self.gradients = Gradients(objective, self.exchange, clip_norm)
        self.needs_closure = _needs_closure(optimizer)
        self._terms: tuple[str, ...] | None = None

    def __call__(self, group: Sequence[Any]) -> bool:
        """Train on the batches of one step; False where no process has a batch left."""
        sizes = [self.objective.sizes(batch) for batch in group]
        n_row = sum(self.objective.n_row(batch) for batch in group)
        totals = self.exchange.totals(sizes, self._term_names(sizes), n_row)
        if not totals["batches"]:
            return False
        if self.needs_closure:
            self._step_by_closure(group, totals)
        else:
            self._step(group, totals)
        return True

    def _term_names(self, sizes: Sequence[Mapping[str, Size]]) -> tuple[str, ...]:
        """The names of the terms; a process without a batch in its first step learns them from the others."""
        if self._terms is None:
            own = tuple(sizes[0]) if sizes else ()
            self._terms = next(filter(None, self.ranks.all_gather_objects(own)), ())
            for name in self._terms:
                if name in {BATCHES, VALUE}:
                    raise ValueError(f"A term of the loss must not be called {name!r}, which the loop uses. Call it '{name}_loss'.")
        return self._terms

    def _step(self, group: Sequence[Any], totals: Mapping[str, Size]) -> None:
        last = len(group) - 1
        sums = self._begin()
        if not group:  # only other processes have a batch left: callbacks are called here as well
            self.state.begin_batch(None)
            self.callbacks.call("on_batch_begin")
        for i, batch in enumerate(group):
            self._begin_batch(batch)
            sums = self._add(sums, totals)
            self.state.rows += self.objective.n_row(batch)
            if i < last:
                self._end_batch(stepped=False)
        self._finish(sums, totals)
        self.optimizer.step()
        self._after_step()
        self._end_batch(stepped=True)

    def _step_by_closure(self, group: Sequence[Any], totals: Mapping[str, Size]) -> None:
        """The optimizer evaluates the loss as often as it wants; the first evaluation is recorded."""
        recorded = False

        def closure() -> Tensor:
            nonlocal recorded
            self.optimizer.zero_grad()
            sums = self._begin()
            for batch in group:
                self._begin_batch(batch, call=not recorded)
                sums = self._add(sums, totals)
            value = self._finish(sums, totals, record=not recorded)
            recorded = True
            return value

        self.optimizer.step(closure)  # type: ignore[arg-type]
        self._after_step()
        for i, batch in enumerate(group):
            self.state.rows += self.objective.n_row(batch)
            self._end_batch(stepped=i == len(group) - 1)
        if not group:
            self._end_batch(stepped=True)

    def _begin(self) -> dict[str, Tensor]:
        self.gradients.begin()
        self.state.loss = None
        return {}

    def _begin_batch(self, batch: Any, call: bool = True) -> None:
        self.state.begin_batch(self.objective.to_device(batch, self.device))
        if call:
            self.callbacks.call("on_batch_begin")

    def _add(self, sums: dict[str, Tensor], totals: Mapping[str, Size]) -> dict[str, Tensor]:
        """Forward and backward of the present batch; returns the sums of the loss and its terms."""
        with self._compiler():
            with autocast(self.device, self.precision):
                loss = self.module(self.state.current_batch, totals)
            if set(loss.terms) != set(self._terms or ()):
                raise ValueError(
                    f"{type(self.objective).__name__}: forward must return the terms of sizes, {self._terms}; got {[*loss.terms]}."
                )
            self.gradients.add(loss)
        parts = {VALUE: loss.value, **loss.terms}
        sums = {name: sums[name] + part.detach() if name in sums else part.detach() for name, part in parts.items()}
        self.state.loss = sums[VALUE]
        return sums

    @contextmanager
    def _compiler(self) -> Generator[None, None, None]:
        """What a compiled forward pass needs: no warning where the compiler itself reads ``.grad``, and graphs that a balancer reuses."""
        if self.module is self.objective:
            yield
            return
        several = kept_for_several_backward_passes() if self.gradients.several_passes else nullcontext()
        with several, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
            yield

    def _finish(self, sums: dict[str, Tensor], totals: Mapping[str, Size], record: bool = True) -> Tensor:
        """Complete the gradients of the step, record its loss, and call ``on_backward_end``; returns the loss."""
        sums = self._summed_over_ranks(sums)
        self.state.loss = value = sums[VALUE]
        terms = {name: term for name, term in sums.items() if name != VALUE}
        self.gradients.finish(terms)
        self.exchange.average_buffers()
        if record:
            self.state.rows += int(self.exchange.n_row_of_all - self.exchange.n_row)
            self.mean_loss.add(value, terms, totals, self.exchange.n_row_of_all)
        self.callbacks.call("on_backward_end")
        return value

    def _summed_over_ranks(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.ranks.is_single:
            return sums
        names = (VALUE, *(self._terms or ()))
        own = [sums[name] if name in sums else torch.zeros((), device=self.device) for name in names]
        together = self.exchange.sum_values(torch.stack([part.double() for part in own]))
        return {name: part.to(own[0].dtype) for name, part in zip(names, together, strict=True)}

    def _after_step(self) -> None:
        self.optimizer.zero_grad()
        self.objective.after_step()
        self.state.end_step()

    def _end_batch(self, stepped: bool) -> None:
        self.state.end_batch(stepped)
        self.callbacks.call("on_batch_end")


VALUE, BATCHES = "value of the loss", "batches"


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``optimizer.step`` cannot be called without a closure, by its signature or by an attribute ``needs_closure = True``."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return bool(getattr(optimizer, "needs_closure", False)) or (closure is not None and closure.default is inspect.Parameter.empty)
