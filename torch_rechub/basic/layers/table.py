"""The fused embedding table: the embeddings of all features of one width, stacked in one matrix.

A model with 26 sparse columns does one lookup per step instead of 26. The table is an ordinary parameter with a dense gradient, so any
optimizer of torch can train it. While an optimizer of ``torch_rechub.optim`` *owns* it, the gradient holds only the rows of the batch, and
rows that are not read may *lag*: their updates are applied when they are read next. All public functions return up-to-date rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import EmbeddedFeature
from torch_rechub.basic.initializers import Initializer
from torch_rechub.basic.layers.plain import must_be_plain
from torch_rechub.basic.layers.rows_view import RowsView
from torch_rechub.torch_private import embedding_backward, is_onnx_export, with_parameters, without_transforms

__all__ = ["EmbeddingTable", "RowOwner", "table_of"]


class RowOwner(Protocol):
    """The interface of a row-wise optimizer to a table that it owns."""

    def look_up(self, rows: Tensor) -> Tensor:
        """The embeddings ``(n, D)`` of ``rows`` ``(n,)`` for training; they are brought up to date in place and have a sparse gradient."""
        ...

    def peek(self, rows: Tensor | slice) -> Tensor:
        """An up-to-date copy of the embeddings of ``rows``; the table does not change."""
        ...

    def settle(self) -> None:
        """Bring all rows up to date in place."""
        ...

    @property
    def settled(self) -> bool:
        """Whether all rows are up to date."""
        ...


@named_arguments
class EmbeddingTable(nn.Module):
    """Embeddings of one width for several features.

    Args:
        features: sparse or sequence features of equal ``embed_dim``, none of which is shared with another.
        trainable: False excludes the table from training (frozen pretrained embeddings).

    Shape:
        rows ``(*)`` int64, numbered within the table (the ids of a feature plus its offset) -> ``(*, D)``.

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
            _initialize(feature, weight[self.slices[feature.name]])
        self.weight = nn.Parameter(weight, requires_grad=trainable)
        padding = [self.slices[f.name].start + f.padding_idx for f in features if f.padding_idx is not None]
        self.register_buffer("padding_rows", torch.tensor(padding, dtype=torch.int64), persistent=False)
        self.owner: RowOwner | None = None
        _register(self)

    def forward(self, rows: Tensor) -> Tensor:
        flat = rows.reshape(-1)
        if must_be_plain():
            embeddings = self._plain_lookup(flat)
        elif not (torch.is_grad_enabled() and self.weight.requires_grad):
            lagging = self.owner is not None and not self.owner.settled
            embeddings = self.owner.peek(flat) if lagging else nn.functional.embedding(flat, self.weight)  # type: ignore[union-attr]
        elif self.owner is not None:
            embeddings = self.owner.look_up(flat)
        else:
            embeddings = _DenseLookup.apply(self.weight, flat, self.padding_rows)
        return embeddings.view(*rows.shape, self.weight.shape[1])  # (*, D)

    def _plain_lookup(self, rows: Tensor) -> Tensor:
        """The embeddings ``(n, D)`` of ``rows`` ``(n,)`` by operations that torch can trace, export and transform.

        Raises:
            RuntimeError: under ``torch.func``, rows lag and the weight is one of the caller's, which cannot be brought up to date.
        """
        if self.owner is not None and not self.owner.settled:
            if without_transforms(self.weight) is not self.weight:
                raise RuntimeError(
                    "torch.func.functional_call must get weights that are up to date; a row-wise optimizer owns this table and rows lag. "
                    "Call optimizer.detach() before taking the parameters, or use one of torch's optimizers."
                )
            self.settle()
        embeddings = nn.functional.embedding(rows, self.weight)
        has_gradient = torch.is_grad_enabled() or torch.jit.is_tracing()  # the tracer checks its graph without gradients
        has_padding = any(feature.padding_idx is not None for feature in self.features)
        if not has_padding or not has_gradient or is_onnx_export():
            return embeddings
        is_padding = (rows.unsqueeze(-1) == self.padding_rows).any(-1, keepdim=True)  # (n, 1)
        return torch.where(is_padding, embeddings.detach(), embeddings)

    def rows_of(self, name: str) -> Tensor:
        """The weight ``(vocab_size, D)`` of one feature, to read and write: a view, or a :class:`RowsView` while rows lag."""
        feature_rows = self.slices[name]
        if self.owner is None or self.owner.settled:
            return self.weight[feature_rows]
        owner = self.owner

        def rows() -> Tensor:
            self.settle()
            return self.weight[feature_rows]

        return RowsView.of(_UpToDateCopy.apply(self.weight, feature_rows, owner), rows)

    def all_rows(self) -> Tensor:
        """All rows ``(V, D)``, up to date. While rows lag it is a copy without gradients, and with gradients the rows are settled first."""
        if self.owner is None or self.owner.settled:
            return self.weight
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return self.owner.peek(slice(None))
        self.settle()
        return self.weight

    def settle(self) -> None:
        """Bring all rows up to date in place; without a row-wise optimizer they always are."""
        if self.owner is not None:
            self.owner.settle()

    @torch.no_grad()
    def restart(self) -> None:
        """Initialize all rows again in place, with the initializer of each feature; the trained values are lost."""
        self.settle()
        for feature in self.features:
            _initialize(feature, self.weight[self.slices[feature.name]])

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickle and deepcopy: all rows up to date, and no owner."""
        state = dict(self.__dict__, owner=None)
        if self.owner is not None and not self.owner.settled:
            up_to_date = nn.Parameter(self.owner.peek(slice(None)), requires_grad=self.weight.requires_grad)
            return with_parameters(state, self, weight=up_to_date)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _register(self)

    def _apply(self, fn: Any, recurse: bool = True) -> EmbeddingTable:
        self.settle()
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Empty: the :class:`EmbeddingLayer` with this table saves one key per feature. An ONNX model has the table instead."""
        if is_onnx_export():  # its tracer takes a parameter from the state_dict
            destination[f"{prefix}weight"] = self.weight if keep_vars else self.weight.detach()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Empty: the :class:`EmbeddingLayer` with this table loads one key per feature."""

    def extra_repr(self) -> str:
        rows, width = self.weight.shape
        return f"{rows} x {width}, features={list(self.slices)}"


#: Weak references to all tables. Threads add and remove entries at any time; ``list(...)`` of a dict is one step for all of them.
_live_tables: dict[ReferenceType[EmbeddingTable], None] = {}


def _register(table: EmbeddingTable) -> None:
    _live_tables[ref(table, _forget)] = None


def _forget(reference: ReferenceType[EmbeddingTable]) -> None:
    _live_tables.pop(reference, None)


def table_of(parameter: Tensor) -> EmbeddingTable | None:
    """The table with the weight ``parameter``; None if there is none."""
    tables = (reference() for reference in list(_live_tables))
    return next((table for table in tables if table is not None and table.weight is parameter), None)


class _UpToDateCopy(torch.autograd.Function):
    """An up-to-date copy of some rows, whose gradient is passed to the weight of the table."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: slice, owner: RowOwner) -> Tensor:
        ctx.rows, ctx.shape = rows, weight.shape
        return owner.peek(rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        dense = grad_outputs[0].new_zeros(ctx.shape)
        dense[ctx.rows] = grad_outputs[0]
        return dense, None, None


class _DenseLookup(torch.autograd.Function):
    """``weight[rows]`` whose gradient is dense and zero at padding rows; on the CPU 4 times faster than the backward pass of torch."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor, padding_rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows, padding_rows)
        ctx.n_row = weight.shape[0]
        return nn.functional.embedding(rows, weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        rows, padding_rows = ctx.saved_tensors
        (grad,) = grad_outputs
        if grad.is_cuda:  # summed in sorted order, so that a run can be repeated bit for bit
            dense = embedding_backward(grad, rows, ctx.n_row)
        else:
            dense = grad.new_zeros(ctx.n_row, grad.shape[1]).index_add_(0, rows, grad)
        if len(padding_rows):
            dense.index_fill_(0, padding_rows, 0.0)
        return dense, None, None


def _initialize(feature: EmbeddedFeature, weight: Tensor) -> None:
    """Fill the rows of one feature with its initializer."""
    initializer = feature.initializer
    with torch.no_grad():
        if isinstance(initializer, Initializer):
            initializer.fill_(weight)
            if feature.padding_idx is not None and initializer.trainable:
                weight[feature.padding_idx] = 0.0
        else:  # a function with the interface of the existing package: (vocab_size, embed_dim, padding_idx) -> nn.Embedding
            weight.copy_(feature.get_embedding_layer().weight)
