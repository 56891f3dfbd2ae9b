"""One table in row mode: what the row-wise optimizers have in common."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.kernels import kernels_for, torch_any
from torch_rechub.torch_private import coalesced_in_place, disable_compile, sparse_indices, sparse_values

__all__ = ["TableRows", "coalesced", "eagerly"]

eagerly = disable_compile  # torch.compile runs a decorated method in eager mode


class TableRows:
    """The owner of one table, for an optimizer under which a row without a gradient does not move; others say how it does.

    Args:
        table: the table to own.
        state: the optimizer's state of the table's weight, exactly as torch's own optimizer of that name keeps it. What a lagging row
            needs besides lives here, and nowhere once the table is settled.
    """

    def __init__(self, table: EmbeddingTable, state: dict[str, Any]) -> None:
        self.table = table
        self.state = state
        self.distinct = torch.empty(0, dtype=torch.int64)
        self._hook: Any = None
        self.slot = torch.zeros(len(table.weight), dtype=torch.int32, device=table.weight.device)
        for key, kept in state.items():
            if key != "step" and isinstance(kept, Tensor) and kept.shape[0] != len(table.weight):
                raise ValueError(
                    f"The optimizer's '{key}' must have one row for each of the table's {len(table.weight)}; it has {kept.shape[0]}."
                )

    @property
    def weight(self) -> Tensor:
        """The table's weight, outside autograd."""
        return self.table.weight.detach()

    @property
    def settled(self) -> bool:
        """Whether all rows are up to date."""
        return True

    @eagerly
    def look_up(self, rows: Tensor) -> Tensor:
        """The embeddings ``(n, D)`` of ``rows`` ``(n,)``, up to date in place; their gradient holds the distinct rows."""
        self.follow()
        distinct, inverse = kernels_for(self.weight).unique(rows.contiguous(), self.slot)
        with torch.no_grad():
            self.catch_up(distinct)
        self.distinct = distinct
        return _Lookup.apply(self.table.weight, rows, distinct, inverse, self.table.padding_rows)

    def take(self) -> None:
        """Become the table's owner; the owner before brings all rows up to date."""
        before = self.table.owner
        if isinstance(before, TableRows):
            before.release()
        self.table.settle()
        self.table.owner = self
        self_ = weakref.ref(self)  # a parameter's hooks are unknown to the garbage collector

        def mark(parameter: Tensor) -> None:
            rows = self_()
            if rows is not None:
                rows._mark_coalesced(parameter)

        self._hook = self.table.weight.register_post_accumulate_grad_hook(mark)

    def release(self) -> None:
        """Bring all rows up to date and let the table go, where this is still its owner."""
        if self.table.owner is self:
            self.settle()
            self.table.owner = None
        self._hook.remove()

    def _mark_coalesced(self, parameter: Tensor) -> None:
        """Autograd forgets on the way to ``.grad`` that rows are distinct and sorted: remember it of the lookup's own."""
        grad = parameter.grad
        if grad is not None and grad.is_sparse and not grad.is_coalesced():
            indices = sparse_indices(grad)
            if indices.shape[1] == len(self.distinct) and indices.data_ptr() == self.distinct.data_ptr():
                coalesced_in_place(grad)

    @eagerly
    def peek(self, rows: Tensor | slice) -> Tensor:
        """The embeddings of ``rows`` up to date, in a copy."""
        return self.weight[rows].clone()

    def settle(self) -> None:
        """Bring all rows up to date in place."""

    def catch_up(self, rows: Tensor) -> None:
        """Bring the distinct ``rows`` up to date in place."""

    def step(self, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """One step on the distinct ``rows`` ``(n,)`` with their gradients ``(n, D)``; the others have gradient zero."""
        raise NotImplementedError

    def stepped_by_torch(self) -> None:
        """Take note that all rows, settled before, were moved by a step of torch's own optimizer."""

    def lag(self) -> dict[str, Any]:
        """What has to be stored besides the state, so that lagging rows can be stored as they lie."""
        return {}

    def restore(self, lag: dict[str, Any]) -> None:
        """Put back what :meth:`lag` gave."""

    def follow(self) -> None:
        """Go where the weight has gone, to another device or type."""
        weight = self.table.weight
        for key, kept in self.state.items():
            if key != "step" and isinstance(kept, Tensor) and (kept.device != weight.device or kept.dtype != weight.dtype):
                self.state[key] = kept.to(weight)
        if self.slot.device != weight.device:
            self.slot = self.slot.to(weight.device)


class _Lookup(torch.autograd.Function):
    """``weight[rows]`` whose gradient holds the distinct rows only, sorted, with zeros for padding."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor, distinct: Tensor, inverse: Tensor, padding_rows: Tensor) -> Tensor:
        ctx.save_for_backward(distinct, inverse, padding_rows)
        ctx.shape = weight.shape
        return kernels_for(weight).gather(weight.detach(), rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None, None]:
        distinct, inverse, padding_rows = ctx.saved_tensors
        grad = grad_outputs[0].contiguous()
        values = kernels_for(grad).accumulate(grad, inverse, len(distinct))
        if len(padding_rows) and len(distinct):
            place = torch.searchsorted(distinct, padding_rows).clamp_(max=len(distinct) - 1)
            found = distinct.index_select(0, place) == padding_rows
            padding = torch.zeros(len(distinct), device=grad.device).index_add_(0, place, found.float()) > 0
            values.masked_fill_(padding[:, None], 0.0)
        sparse = torch.sparse_coo_tensor(distinct[None], values, ctx.shape, is_coalesced=True, check_invariants=False)
        return sparse, None, None, None, None


def coalesced(grad: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows ``(n,)`` of a sparse gradient, ascending, and their sums ``(n, D)``."""
    if grad.is_coalesced():
        return sparse_indices(grad)[0], sparse_values(grad)
    if grad.sparse_dim() != 1 or grad.dense_dim() != 1:
        grad = grad.coalesce()
        return sparse_indices(grad)[0], sparse_values(grad)
    rows, values = sparse_indices(grad)[0], sparse_values(grad)
    distinct, inverse = torch_any.sorted_unique(rows)
    return distinct, kernels_for(values).accumulate(values.contiguous(), inverse, len(distinct))
