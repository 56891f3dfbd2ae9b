"""Lookups with one operation per table: which columns a table reads, and how the result is split for the parts of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torch_rechub.basic.batch.packed import id_matrix, number_matrix
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature, SequenceFeature, SparseFeature
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.types import Features

__all__ = ["Embedded", "LookupPlan"]


class TableLookup:
    """The lookup of all columns of one table. The result is a list of blocks: one for all sparse columns and one for each sequence."""

    def __init__(self, features: Sequence[EmbeddedFeature], table: EmbeddingTable) -> None:
        self.table = table
        self.sparse = tuple(f.name for f in features if isinstance(f, SparseFeature))
        self.sequences = [f for f in features if isinstance(f, SequenceFeature)]
        self.offsets = torch.tensor([table.slices[f.table_name].start for f in features if isinstance(f, SparseFeature)])

    @property
    def blocks(self) -> list[tuple[str, ...]]:
        """The feature names of each block."""
        return ([self.sparse] if self.sparse else []) + [(f.name,) for f in self.sequences]

    def __call__(self, x: Features, wide: bool = False) -> list[Tensor]:
        """Sparse embeddings ``(B, F, D)``, ``(B, F, L, D)`` of ids ``(B, L)``; each sequence ``(B, 1, D)`` or ``(B, 1, L, D)``."""
        rows = [x[f.name].long() + self.table.slices[f.table_name].start for f in self.sequences]  # (B, L) each
        if self.sparse:
            columns = id_matrix(x, self.sparse, wide)
            if self.offsets.device != columns.device:
                self.offsets = self.offsets.to(columns.device)
            rows.insert(0, columns + (self.offsets if columns.dim() == 2 else self.offsets[:, None]))  # (B, F) or (B, F, L)
        if len(rows) == 1:
            embeddings = [self.table(rows[0])]
        else:
            flat = self.table(torch.cat([part.reshape(-1) for part in rows])).split([part.numel() for part in rows])
            embeddings = [part.view(*ids.shape, -1) for part, ids in zip(flat, rows, strict=True)]
        n_sparse = len(embeddings) - len(self.sequences)
        pooled = [pool(f, x[f.name], s) for f, s in zip(self.sequences, embeddings[n_sparse:], strict=True)]
        return embeddings[:n_sparse] + pooled


class ModuleLookup:
    """The lookup of one feature by a call of its own module, which is no part of a fused table."""

    def __init__(self, feature: EmbeddedFeature, module: nn.Module) -> None:
        self.feature, self.module = feature, module
        self.blocks = [(feature.name,)]

    def __call__(self, x: Features, wide: bool = False) -> list[Tensor]:
        """One block: ``(B, 1, D)``, or ``(B, 1, L, D)``."""
        feature = self.feature
        if not isinstance(feature, SequenceFeature):
            return [self.module(id_matrix(x, (feature.name,), wide).long())]
        ids = x[feature.name].long()  # (B, L)
        return [pool(feature, ids, self.module(ids))]


def pool(feature: SequenceFeature, ids: Tensor, embeddings: Tensor) -> Tensor:
    """Reduce ``(B, L, D)`` over the ids ``(B, L)`` that are not padding: ``(B, 1, D)``, or ``(B, 1, L, D)`` for "concat".

    The mean of a list of padding only is zero, as in the existing package.
    """
    if feature.pooling == "concat":
        return embeddings.unsqueeze(1)
    if feature.padding_idx is None:
        return embeddings.mean(1, keepdim=True) if feature.pooling == "mean" else embeddings.sum(1, keepdim=True)
    mask = (ids != feature.padding_idx).to(embeddings.dtype).unsqueeze(1)  # (B, 1, L)
    total = mask @ embeddings  # (B, 1, D)
    return total / mask.sum(2, keepdim=True).clamp(min=1) if feature.pooling == "mean" else total


class ColumnRange(NamedTuple):
    """Consecutive columns of one block."""

    block: int
    start: int
    stop: int


class LookupPlan:
    """The lookups for a list of features, computed once and reused for every batch.

    Args:
        features: the features to read; the result can be split by any lists of them.
        table_of: feature name -> the table of the feature.
        called: feature name -> the module to call in place of the fused lookup, or None.
        tables: all tables of the layer, which give the type of dense columns where no embedded feature is read.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        table_of: Callable[[str], EmbeddingTable],
        called: Callable[[str], nn.Module | None],
        tables: Iterable[nn.Module] = (),
    ) -> None:
        self.features = tuple(features)  # a reference, because the ids of these objects are keys of the cache below
        grouped: dict[int, tuple[EmbeddingTable, dict[str, EmbeddedFeature]]] = {}
        by_call: dict[str, ModuleLookup] = {}
        for feature in features:
            if isinstance(feature, EmbeddedFeature):
                table, module = table_of(feature.table_name), called(feature.table_name)
                if module is not None:
                    by_call[feature.name] = ModuleLookup(feature, module)
                    continue
                grouped.setdefault(id(table), (table, {}))[1][feature.name] = feature
        self.modules: list[nn.Module] = [*(table for table, _ in grouped.values()), *(lookup.module for lookup in by_call.values())]
        self._typed = self.modules or list(tables)
        lookups = [TableLookup(list(members.values()), table) for table, members in grouped.values()]
        self.lookups: list[TableLookup | ModuleLookup] = [*lookups, *by_call.values()]
        blocks = [names for lookup in self.lookups for names in lookup.blocks]
        self.positions = {name: (b, column) for b, names in enumerate(blocks) for column, name in enumerate(names)}
        self._ranges: dict[tuple[int, ...], tuple[list[ColumnRange], list[tuple[str, ...]], Sequence[Feature]]] = {}

    @property
    def dtype(self) -> torch.dtype:
        """The type of the columns that come out: that of the embeddings, which ``model.double()`` and the like change."""
        weights = (getattr(module, "weight", None) for module in self._typed)
        return next((weight.dtype for weight in weights if isinstance(weight, Tensor)), torch.float32)

    def __call__(self, x: Features, wide: bool = False) -> Embedded:
        """Look up all features in the batch ``x``; see :func:`id_matrix` for ``wide``."""
        return Embedded(self, x, [block for lookup in self.lookups for block in lookup(x, wide)])

    def column_ranges(self, features: Sequence[Feature]) -> tuple[list[ColumnRange], list[tuple[str, ...]]]:
        """Ranges of embedded columns in the order of ``features``, and groups of dense columns (consecutive numbers form one group)."""
        key = tuple(map(id, features))
        if key not in self._ranges:
            self._ranges[key] = (
                _merge_columns([self.positions[f.name] for f in features if isinstance(f, EmbeddedFeature)]),
                _group_dense(features),
                list(features),
            )
        return self._ranges[key][:2]


class Embedded:
    """The result of one lookup; it is split by lists of features without another lookup."""

    def __init__(self, plan: LookupPlan, x: Features, blocks: list[Tensor]) -> None:
        self._plan = plan
        self._x = x
        self._blocks = blocks

    def stacked(self, features: Sequence[Feature]) -> Tensor:
        """The embedded columns of ``features``, of one width: ``(B, F, D)``, or ``(B, F, L, D)`` for pooling "concat"."""
        ranges, _ = self._plan.column_ranges(features)
        if not ranges:
            raise ValueError(
                f"(B, F, D) needs a SparseFeature or SequenceFeature; got {list(features)}. Use squeeze_dim=True for dense features."
            )
        parts = self._parts(ranges)
        if not torch.jit.is_tracing() and len({(part.dim(), int(part.shape[-1])) for part in parts}) > 1:
            raise ValueError(
                "(B, F, D) needs features of one embed_dim and one kind of pooling; "
                f"got {list(features)}. Make embed_dim equal, or use squeeze_dim=True."
            )
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def flat(self, features: Sequence[Feature]) -> Tensor:
        """All columns of ``features``, concatenated: ``(B, sum of embed_dim)``, embedded columns in order, then dense columns."""
        return _side_by_side(self._columns(features))

    def through(
        self, module: nn.Module, features: Sequence[Feature], further: Sequence[Tensor] = (), leading: Sequence[Tensor] = ()
    ) -> Tensor:
        """``module`` applied to all columns of ``features`` side by side, ``(B, sum of embed_dim)``: a network, a linear layer, a cross.

        Models hand their lookups to their first layers in this way, and not as a matrix of their own.

        Args:
            module: a layer of ``(B, n)``.
            features: some of the features that were looked up; may be empty where ``further`` is not.
            further: matrices ``(B, *)`` that follow the columns, such as products of embeddings.
            leading: matrices ``(B, *)`` in front of the columns, such as the interests in a history.
        """
        return module(_side_by_side([*leading, *self._columns(features), *further]))

    def _columns(self, features: Sequence[Feature]) -> list[Tensor]:
        """The embedded columns, then the dense ones, as matrices ``(B, *)``."""
        ranges, dense_groups = self._plan.column_ranges(features)
        columns, dtype = [part.flatten(1) for part in self._parts(ranges)], self._plan.dtype
        for names in dense_groups:
            column = self._x[names[0]] if len(names) == 1 else number_matrix(self._x, names, dtype)
            columns.append(column.to(dtype) if column.dim() > 1 else column.to(dtype).unsqueeze(1))
        return columns

    def _parts(self, ranges: list[ColumnRange]) -> list[Tensor]:
        return [self._blocks[block][:, start:stop] for block, start, stop in ranges]


def _side_by_side(parts: list[Tensor]) -> Tensor:
    if not parts:
        raise ValueError("The list of features must not be empty.")
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _merge_columns(positions: list[tuple[int, int]]) -> list[ColumnRange]:
    """Merge consecutive columns of one block into ranges."""
    ranges: list[ColumnRange] = []
    for block, column in positions:
        if ranges and ranges[-1].block == block and ranges[-1].stop == column:
            ranges[-1] = ranges[-1]._replace(stop=column + 1)
        else:
            ranges.append(ColumnRange(block, column, column + 1))
    return ranges


def _group_dense(features: Sequence[Feature]) -> list[tuple[str, ...]]:
    """Group consecutive dense columns of numbers; a column of vectors is a group of its own."""
    groups: list[tuple[str, ...]] = []
    previous_is_number = False
    for feature in features:
        if isinstance(feature, DenseFeature):
            if feature.embed_dim == 1 and previous_is_number:
                groups[-1] += (feature.name,)
            else:
                groups.append((feature.name,))
            previous_is_number = feature.embed_dim == 1
    return groups
