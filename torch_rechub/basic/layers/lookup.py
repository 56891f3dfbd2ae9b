"""One lookup a table a step: which columns go in, and how what comes out is cut for the parts of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_rechub.basic.batch.packed import id_matrix, number_matrix
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature, SequenceFeature, SparseFeature
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.types import Features

__all__ = ["Embedded", "LookupPlan"]


class TableRead:
    """All columns that one lookup reads from one table: the sparse ones as one piece, each sequence as a piece of its own."""

    def __init__(self, features: Sequence[EmbeddedFeature], table: EmbeddingTable) -> None:
        self.table = table
        self.sparse = tuple(f.name for f in features if isinstance(f, SparseFeature))
        self.sequences = [f for f in features if isinstance(f, SequenceFeature)]
        self.offsets = torch.tensor([table.slices[f.table_name].start for f in features if isinstance(f, SparseFeature)])

    @property
    def pieces(self) -> list[tuple[str, ...]]:
        """The names that each piece holds."""
        return ([self.sparse] if self.sparse else []) + [(f.name,) for f in self.sequences]

    def __call__(self, x: Features) -> list[Tensor]:
        """Sparse embeddings ``(B, F, D)``; each sequence ``(B, 1, D)`` pooled or ``(B, 1, L, D)``."""
        rows = [x[f.name].long() + self.table.slices[f.table_name].start for f in self.sequences]  # (B, L) each
        if self.sparse:
            columns = id_matrix(x, self.sparse)
            if self.offsets.device != columns.device:
                self.offsets = self.offsets.to(columns.device)
            rows.insert(0, columns + self.offsets)  # (B, F)
        if len(rows) == 1:
            found = [self.table(rows[0])]
        else:
            flat = self.table(torch.cat([part.reshape(-1) for part in rows])).split([part.numel() for part in rows])
            found = [part.view(*ids.shape, -1) for part, ids in zip(flat, rows, strict=True)]
        n_sparse = len(found) - len(self.sequences)
        return found[:n_sparse] + [pool(f, x[f.name], s) for f, s in zip(self.sequences, found[n_sparse:], strict=True)]


def pool(feature: SequenceFeature, ids: Tensor, embeddings: Tensor) -> Tensor:
    """Reduce ``(B, L, D)`` over the ids ``(B, L)`` that are not padding: ``(B, 1, D)``, or ``(B, 1, L, D)`` for "concat".

    The mean of a list that is all padding is zero, as in the existing package.
    """
    if feature.pooling == "concat":
        return embeddings.unsqueeze(1)
    if feature.padding_idx is None:
        return embeddings.mean(1, keepdim=True) if feature.pooling == "mean" else embeddings.sum(1, keepdim=True)
    mask = (ids != feature.padding_idx).to(embeddings.dtype).unsqueeze(1)  # (B, 1, L)
    total = mask @ embeddings  # (B, 1, D)
    return total / mask.sum(2, keepdim=True).clamp(min=1) if feature.pooling == "mean" else total


class Run(NamedTuple):
    """Neighbouring columns of one piece."""

    piece: int
    start: int
    stop: int


class LookupPlan:
    """What to read for a list of features, worked out once.

    Args:
        features: what will be asked for, in any order and number.
        table_of: feature name -> the table that holds its rows.
    """

    def __init__(self, features: Sequence[Feature], table_of: Callable[[str], EmbeddingTable]) -> None:
        self.features = tuple(features)  # held, so that the identities by which cuts are remembered stay theirs
        grouped: dict[int, tuple[EmbeddingTable, dict[str, EmbeddedFeature]]] = {}
        for feature in features:
            if isinstance(feature, EmbeddedFeature):
                table = table_of(feature.table_name)
                grouped.setdefault(id(table), (table, {}))[1][feature.name] = feature
        self.reads = [TableRead(list(members.values()), table) for table, members in grouped.values()]
        pieces = [names for read in self.reads for names in read.pieces]
        self.places = {name: (p, column) for p, names in enumerate(pieces) for column, name in enumerate(names)}
        self._cuts: dict[tuple[int, ...], tuple[list[Run], list[tuple[str, ...]], Sequence[Feature]]] = {}

    def __call__(self, x: Features) -> Embedded:
        """Read everything."""
        return Embedded(self, x, [piece for read in self.reads for piece in read(x)])

    def cut(self, features: Sequence[Feature]) -> tuple[list[Run], list[tuple[str, ...]]]:
        """Runs of embedded columns in the order of ``features``, and runs of dense columns (vectors alone, numbers together)."""
        key = tuple(map(id, features))
        if key not in self._cuts:
            self._cuts[key] = (
                _runs([self.places[f.name] for f in features if isinstance(f, EmbeddedFeature)]),
                _dense_runs(features),
                list(features),
            )
        return self._cuts[key][:2]


class Embedded:
    """What one reading found; cut by feature list without reading again."""

    def __init__(self, plan: LookupPlan, x: Features, pieces: list[Tensor]) -> None:
        self._plan = plan
        self._x = x
        self._pieces = pieces

    def stacked(self, features: Sequence[Feature]) -> Tensor:
        """The embedded ones of ``features``, ``(B, F, D)``; ``(B, F, L, D)`` for sequences kept whole. One width only."""
        runs, _ = self._plan.cut(features)
        if not runs:
            raise ValueError(
                f"(B, F, D) needs a SparseFeature or SequenceFeature; got {list(features)}. Ask with squeeze_dim=True for dense ones."
            )
        parts = self._parts(runs)
        if len({(part.dim(), int(part.shape[-1])) for part in parts}) > 1:
            raise ValueError(
                "(B, F, D) needs features of one embed_dim and one kind of pooling; "
                f"got {list(features)}. Make embed_dim equal, or ask with squeeze_dim=True."
            )
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def flat(self, features: Sequence[Feature]) -> Tensor:
        """All of ``features`` side by side, ``(B, sum of embed_dim)``: embedded ones in order, dense ones behind."""
        runs, dense = self._plan.cut(features)
        parts = [part.flatten(1) for part in self._parts(runs)]
        for names in dense:
            column = self._x[names[0]] if len(names) == 1 else number_matrix(self._x, names)
            parts.append(column.float() if column.dim() > 1 else column.float().unsqueeze(1))
        if not parts:
            raise ValueError("The list of features must not be empty.")
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _parts(self, runs: list[Run]) -> list[Tensor]:
        return [self._pieces[piece][:, start:stop] for piece, start, stop in runs]


def _runs(places: list[tuple[int, int]]) -> list[Run]:
    runs: list[Run] = []
    for piece, column in places:
        if runs and runs[-1].piece == piece and runs[-1].stop == column:
            runs[-1] = runs[-1]._replace(stop=column + 1)
        else:
            runs.append(Run(piece, column, column + 1))
    return runs


def _dense_runs(features: Sequence[Feature]) -> list[tuple[str, ...]]:
    runs: list[tuple[str, ...]] = []
    together = False
    for feature in features:
        if isinstance(feature, DenseFeature):
            if feature.embed_dim == 1 and together:
                runs[-1] += (feature.name,)
            else:
                runs.append((feature.name,))
            together = feature.embed_dim == 1
    return runs
