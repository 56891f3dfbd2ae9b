"""One table in row mode: the common part of all row-wise optimizers."""

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
    """The owner of one table, for an optimizer that does not change a row without a gradient; a subclass implements other rules.

    Args:
        table: the table to own.
        state: the optimizer's state of the table's weight, with the entries of torch's optimizer of the same name. Further data about
            lagging rows is kept in this object and is empty once the table is settled.
    """

    def __init__(self, table: EmbeddingTable, state: dict[str, Any]) -> None:
        self.table = table
        self.state = state
        self.distinct = torch.empty(0, dtype=torch.int64)
        self._hook: Any = None
        self.slot = torch.zeros(len(table.weight), dtype=torch.int32, device=table.weight.device)
        for key, value in state.items():
            if key != "step" and isinstance(value, Tensor) and value.shape[0] != len(table.weight):
                raise ValueError(
                    f"The optimizer's state '{key}' must have {len(table.weight)} rows, as the embedding table has; got {value.shape[0]}. "
                    "Load a state that was saved with the same features."
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
        """The embeddings ``(n, D)`` of ``rows`` ``(n,)``, brought up to date in place; their gradient holds the distinct rows."""
        self.move_state()
        distinct, inverse = kernels_for(self.weight).unique(rows.contiguous(), self.slot)
        with torch.no_grad():
            self.catch_up(distinct)
        self.distinct = distinct
        return _Lookup.apply(self.table.weight, rows, distinct, inverse, self.table.padding_rows)

    def attach(self) -> None:
        """Become the owner of the table; the previous owner brings all rows up to date."""
        previous = self.table.owner
        if isinstance(previous, TableRows):
            previous.detach()
        self.table.settle()
        self.table.owner = self
        reference = weakref.ref(self)  # the garbage collector does not see the hooks of a parameter, so a cycle would never be freed

        def mark(parameter: Tensor) -> None:
            rows = reference()
            if rows is not None:
                rows._mark_coalesced(parameter)

        self._hook = self.table.weight.register_post_accumulate_grad_hook(mark)

    def detach(self) -> None:
        """Bring all rows up to date and give up the table, if this is still its owner."""
        if self.table.owner is self:
            self.settle()
            self.table.owner = None
        self._hook.remove()

    def _mark_coalesced(self, parameter: Tensor) -> None:
        """Mark ``.grad`` as coalesced if its rows are those of the last lookup; autograd loses the mark when it stores the gradient."""
        grad = parameter.grad
        if grad is not None and grad.is_sparse and not grad.is_coalesced():
            indices = sparse_indices(grad)
            if indices.shape[1] == len(self.distinct) and indices.data_ptr() == self.distinct.data_ptr():
                coalesced_in_place(grad)

    @eagerly
    def peek(self, rows: Tensor | slice) -> Tensor:
        """An up-to-date copy of the embeddings of ``rows``."""
        return self.weight[rows].clone()

    def settle(self) -> None:
        """Bring all rows up to date in place."""

    def catch_up(self, rows: Tensor) -> None:
        """Bring the distinct ``rows`` up to date in place."""

    def step(self, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        """Apply one step to the distinct ``rows`` ``(n,)`` with their gradients ``(n, D)``; all other rows have gradient zero."""
        raise NotImplementedError

    def after_dense_step(self) -> None:
        """Called after a step of torch's own optimizer has updated all rows, which were settled before."""

    def lag_state(self) -> dict[str, Any]:
        """The data besides the state that is needed to save lagging rows without bringing them up to date."""
        return {}

    def load_lag_state(self, lag: dict[str, Any]) -> None:
        """Restore the result of :meth:`lag_state`."""

    def move_state(self) -> None:
        """Move the state to the device and the dtype of the weight."""
        weight = self.table.weight
        for key, value in self.state.items():
            if key != "step" and isinstance(value, Tensor) and (value.device != weight.device or value.dtype != weight.dtype):
                self.state[key] = value.to(weight)
        if self.slot.device != weight.device:
            self.slot = self.slot.to(weight.device)


class _Lookup(torch.autograd.Function):
    """``weight[rows]`` with a sparse gradient of the distinct rows, sorted; it is zero at padding rows."""

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
            position = torch.searchsorted(distinct, padding_rows).clamp_(max=len(distinct) - 1)
            is_read = distinct.index_select(0, position) == padding_rows
            is_padding = torch.zeros(len(distinct), device=grad.device).index_add_(0, position, is_read.float()) > 0
            values.masked_fill_(is_padding[:, None], 0.0)
        sparse = torch.sparse_coo_tensor(distinct[None], values, ctx.shape, is_coalesced=True, check_invariants=False)
        return sparse, None, None, None, None


def coalesced(grad: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows ``(n,)`` of a sparse gradient, ascending, and the sum of the gradients of each row ``(n, D)``."""
    if grad.is_coalesced():
        return sparse_indices(grad)[0], sparse_values(grad)
    if grad.sparse_dim() != 1 or grad.dense_dim() != 1:
        grad = grad.coalesce()
        return sparse_indices(grad)[0], sparse_values(grad)
    rows, values = sparse_indices(grad)[0], sparse_values(grad)
    distinct, inverse = torch_any.sorted_unique(rows)
    return distinct, kernels_for(values).accumulate(values.contiguous(), inverse, len(distinct))
