"""The fused embedding table: every feature of one width, one below the other, in one matrix.

A model with 26 sparse columns does one lookup a step, not 26. The table is an ordinary parameter with a dense gradient, so any
optimizer of torch trains it. While an optimizer of ``torch_rechub.optim`` *owns* it, the gradient holds only the rows that the
batch read, and rows that nobody reads may lag behind; nobody outside ever sees one that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn

from torch_rechub.basic.features import EmbeddedFeature
from torch_rechub.basic.initializers import Initializer
from torch_rechub.basic.layers.rows_view import RowsView
from torch_rechub.torch_private import embedding_backward, with_parameters

__all__ = ["EmbeddingTable", "RowOwner", "table_of"]


class RowOwner(Protocol):
    """What a row-wise optimizer does for a table that it owns."""

    def look_up(self, rows: Tensor) -> Tensor:
        """The embeddings ``(n, D)`` of ``rows`` ``(n,)`` for training: brings them up to date in place and gives a sparse gradient."""
        ...

    def peek(self, rows: Tensor | slice) -> Tensor:
        """The embeddings of ``rows`` as they would be up to date, in a copy: nothing moves."""
        ...

    def settle(self) -> None:
        """Bring all rows up to date in place."""
        ...

    @property
    def settled(self) -> bool:
        """Whether all rows are up to date."""
        ...


class EmbeddingTable(nn.Module):
    """Embeddings of one width for several features.

    Args:
        features: sparse or sequence features of equal ``embed_dim``, each with a table of its own.
        trainable: False keeps the rows as they are (pretrained and frozen).

    Shape:
        rows ``(*)`` int64, counted in the whole table (a feature's ids plus its offset) -> ``(*, D)``.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> table = EmbeddingTable([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)])
        >>> table.slices["item"], table(torch.tensor([[0, 10], [9, 29]])).shape
        (slice(10, 30, None), torch.Size([2, 2, 4]))
    """

    padding_rows: Tensor

    def __init__(self, features: Sequence[EmbeddedFeature], trainable: bool = True) -> None:
        super().__init__()
        self.features = tuple(features)
        stops = torch.tensor([feature.vocab_size for feature in features]).cumsum(0).tolist()
        self.slices = {feature.name: slice(stop - feature.vocab_size, stop) for feature, stop in zip(features, stops, strict=True)}
        weight = torch.empty(stops[-1], features[0].embed_dim)
        for feature in features:
            _start(feature, weight[self.slices[feature.name]])
        self.weight = nn.Parameter(weight, requires_grad=trainable)
        padding = [self.slices[f.name].start + f.padding_idx for f in features if f.padding_idx is not None]
        self.register_buffer("padding_rows", torch.tensor(padding, dtype=torch.int64), persistent=False)
        self.owner: RowOwner | None = None
        _alive.add(self)

    def forward(self, rows: Tensor) -> Tensor:
        flat = rows.reshape(-1)
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            lagging = self.owner is not None and not self.owner.settled
            found = self.owner.peek(flat) if lagging else nn.functional.embedding(flat, self.weight)  # type: ignore[union-attr]
        elif self.owner is not None:
            found = self.owner.look_up(flat)
        else:
            found = _DenseLookup.apply(self.weight, flat, self.padding_rows)
        return found.view(*rows.shape, self.weight.shape[1])  # (*, D)

    def rows_of(self, name: str) -> Tensor:
        """The weight ``(vocab_size, D)`` of one feature to read and write: a view, or while rows lag a copy that hands writes on."""
        part = self.slices[name]
        if self.owner is None or self.owner.settled:
            return self.weight[part]
        owner = self.owner

        def rows() -> Tensor:
            self.settle()
            return self.weight[part]

        return RowsView.of(_Peek.apply(self.weight, part, owner), rows)

    def all_rows(self) -> Tensor:
        """Every row ``(V, D)`` up to date: in place where the loss reads them, otherwise in a copy while rows lag."""
        if self.owner is None or self.owner.settled:
            return self.weight
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return self.owner.peek(slice(None))
        self.settle()
        return self.weight

    def settle(self) -> None:
        """Bring all rows up to date in place; nothing to do while no row-wise optimizer owns the table."""
        if self.owner is not None:
            self.owner.settle()

    @torch.no_grad()
    def restart(self) -> None:
        """Fill all rows anew, in place, as each feature's initializer says; what was learned is gone."""
        self.settle()
        for feature in self.features:
            _start(feature, self.weight[self.slices[feature.name]])

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy: rows up to date, and no owner."""
        state = dict(self.__dict__, owner=None)
        if self.owner is not None and not self.owner.settled:
            caught_up = nn.Parameter(self.owner.peek(slice(None)), requires_grad=self.weight.requires_grad)
            return with_parameters(state, self, weight=caught_up)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _alive.add(self)

    def _apply(self, fn: Any, recurse: bool = True) -> EmbeddingTable:
        self.settle()
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """The layer that holds the table writes one key for each feature instead."""

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """The layer that holds the table reads one key for each feature instead."""

    def extra_repr(self) -> str:
        rows, width = self.weight.shape
        return f"{rows} x {width}, features={list(self.slices)}"


_alive: WeakSet[EmbeddingTable] = WeakSet()


def table_of(parameter: Tensor) -> EmbeddingTable | None:
    """The table whose weight ``parameter`` is, None where it is no table's."""
    return next((table for table in _alive if table.weight is parameter), None)


class _Peek(torch.autograd.Function):
    """A copy of some rows as they would be up to date, whose gradient reaches the table's weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, part: slice, owner: RowOwner) -> Tensor:
        ctx.part, ctx.shape = part, weight.shape
        return owner.peek(part)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        dense = grad_outputs[0].new_zeros(ctx.shape)
        dense[ctx.part] = grad_outputs[0]
        return dense, None, None


class _DenseLookup(torch.autograd.Function):
    """``weight[rows]`` whose gradient is dense and zero at padding rows; on the CPU 4 times cheaper than torch's own backward."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor, padding_rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows, padding_rows)
        ctx.n_row = weight.shape[0]
        return nn.functional.embedding(rows, weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        rows, padding_rows = ctx.saved_tensors
        (grad,) = grad_outputs
        if grad.is_cuda:  # sorted sums there, so that a run can be repeated bit for bit
            dense = embedding_backward(grad, rows, ctx.n_row)
        else:
            dense = grad.new_zeros(ctx.n_row, grad.shape[1]).index_add_(0, rows, grad)
        if len(padding_rows):
            dense.index_fill_(0, padding_rows, 0.0)
        return dense, None, None


def _start(feature: EmbeddedFeature, weight: Tensor) -> None:
    """Fill one feature's rows as its initializer says."""
    initializer = feature.initializer
    with torch.no_grad():
        if isinstance(initializer, Initializer):
            initializer.fill_(weight)
            if feature.padding_idx is not None and initializer.trainable:
                weight[feature.padding_idx] = 0.0
        else:  # any function with the older interface: (vocab_size, embed_dim, padding_idx) -> nn.Embedding
            weight.copy_(feature.get_embedding_layer().weight)
