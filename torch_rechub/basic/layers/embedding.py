"""Columns -> embeddings: the layer that every model reads its features through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.batch.checks import check_features
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature
from torch_rechub.basic.initializers import Initializer
from torch_rechub.basic.layers.column_order import column_order, order_error
from torch_rechub.basic.layers.lookup import Embedded, LookupPlan
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.torch_private import local_metadata_of
from torch_rechub.types import Features

__all__ = ["EmbeddingLayer", "FeatureEmbedding"]


#: The key of the column order in a module's metadata.
COLUMNS = "columns"


class EmbeddingLayer(nn.Module):
    """One fused table for each embedding width, and the old names for what lies in it.

    Two layers made from one feature list never share weights. ``state_dict`` has one key a feature,
    ``embed_dict.<feature>.weight``, whatever the tables look like inside. The layers that follow read columns by position, so the
    ``state_dict`` of a model also keeps the order of the columns, in the metadata that torch keeps beside the weights, and a model with
    another order refuses it. Weights without that metadata (a plain dict, the existing package's weights) load unchecked.

    Args:
        features: what the layer may be asked for; a feature named twice is one feature.

    Shape:
        ``layer(x, features, squeeze_dim=True)``: ``(B, sum of embed_dim)``, embedded columns in the order given, dense ones behind.
        ``layer(x, features)``: ``(B, F, D)`` of the embedded ones; ``(B, F, L, D)`` for sequences with ``pooling="concat"``.

    Raises:
        ValueError: two features of one name that differ, or ``shared_with`` naming no feature of the list or one of another shape;
            at reading, a column that is missing or an id outside its vocabulary.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> user, item, age = SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), DenseFeature("age")
        >>> layer = EmbeddingLayer([user, item, age])
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> layer(x, [user, item, age], squeeze_dim=True).shape, layer(x, [user, item]).shape
        (torch.Size([2, 9]), torch.Size([2, 2, 4]))
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__()
        self.features = list(features)
        distinct = _distinct(self.features)
        self.n_dense = sum(isinstance(feature, DenseFeature) for feature in distinct)
        groups: dict[str, list[EmbeddedFeature]] = {}
        for feature in distinct:
            if isinstance(feature, EmbeddedFeature) and feature.shared_with is None:
                groups.setdefault(_table_key(feature), []).append(feature)
        self.tables = nn.ModuleDict({key: EmbeddingTable(group, not key.startswith("frozen")) for key, group in groups.items()})
        self._table_keys = {feature.name: key for key, group in groups.items() for feature in group}
        _check_sharing(distinct, groups)
        self._plans: dict[tuple[int, ...], LookupPlan] = {}

    def forward(self, x: Features, features: Sequence[Feature] | Feature, squeeze_dim: bool = False) -> Tensor:
        wanted = [features] if isinstance(features, DenseFeature | EmbeddedFeature) else features
        found = self.look_up(x, wanted)
        return found.flat(wanted) if squeeze_dim else found.stacked(wanted)

    def look_up(self, x: Features, features: Sequence[Feature]) -> Embedded:
        """Read every column of ``features`` with one lookup a table; what comes back is cut as often as one likes."""
        key = tuple(map(id, features))
        if key not in self._plans:
            if len(self._plans) == 64:  # somebody makes new features at every step
                self._plans.clear()
            self._plans[key] = LookupPlan(features, self.table_of)
        plan = self._plans[key]
        check_features(x, plan.features)
        return plan(x)

    def table_of(self, name: str) -> EmbeddingTable:
        """The table that holds the rows of feature ``name``."""
        if name not in self._table_keys:
            raise ValueError(f"EmbeddingLayer: there is no table for feature '{name}', only for {list(self._table_keys)}.")
        table = self.tables[self._table_keys[name]]
        assert isinstance(table, EmbeddingTable)
        return table

    @property
    def embed_dict(self) -> Mapping[str, FeatureEmbedding]:
        """Feature name -> its part of a table, with a ``weight`` ``(vocab_size, embed_dim)``."""
        return {name: FeatureEmbedding(self.table_of(name), name) for name in self._table_keys}

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _plans={})  # plans point at this layer's own tables: a copy makes its own

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, part in self.embed_dict.items():
            destination[f"{prefix}embed_dict.{name}.weight"] = part.weight if keep_vars else part.weight.detach()
        metadata = local_metadata_of(destination, prefix)
        if metadata is not None:
            metadata[COLUMNS] = column_order(self.features)

    def _load_from_state_dict(  # torch's signature
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for table in self.tables.values():
            assert isinstance(table, EmbeddingTable)
            table.settle()
        if prefix:  # this layer alone reads its weights by name, in any order; the layers after it do not
            error_msgs += order_error(prefix[:-1], local_metadata.get(COLUMNS), column_order(self.features))
        targets = {f"{prefix}embed_dict.{name}.weight": part.weight for name, part in self.embed_dict.items()}
        for key, target in targets.items():
            if key not in state_dict:
                missing_keys.append(key)
            elif (given := state_dict[key]).shape != target.shape:
                error_msgs.append(
                    f"size mismatch for {key}: the weights given are {tuple(given.shape)}, the table is {tuple(target.shape)}."
                )
            else:
                with torch.no_grad():
                    target.copy_(given)
        unexpected_keys += [key for key in state_dict if key.startswith(prefix) and key not in targets]


class FeatureEmbedding:
    """One feature's part of a fused table, read as the ``nn.Embedding`` that the existing package keeps there."""

    def __init__(self, table: EmbeddingTable, name: str) -> None:
        self._table = table
        self._name = name

    @property
    def weight(self) -> Tensor:
        """``(vocab_size, embed_dim)``: a view of the table (a copy while a row-wise optimizer lets rows lag)."""
        return self._table.rows_of(self._name)

    @property
    def num_embeddings(self) -> int:
        """Number of ids."""
        part = self._table.slices[self._name]
        return part.stop - part.start

    @property
    def embedding_dim(self) -> int:
        """Width."""
        return self._table.weight.shape[1]

    def __call__(self, ids: Tensor) -> Tensor:
        """Embeddings ``(*, D)`` of ``ids`` ``(*)``."""
        low, high = (int(bound) for bound in ids.aminmax()) if ids.numel() else (0, 0)
        if low < 0 or high >= self.num_embeddings:
            raise ValueError(f"Embedding '{self._name}': ids must be >= 0 and < {self.num_embeddings}; got {low} to {high}.")
        return self._table(ids.long() + self._table.slices[self._name].start)

    def __repr__(self) -> str:
        return f"FeatureEmbedding({self._name}: {self.num_embeddings} x {self.embedding_dim})"


def _table_key(feature: EmbeddedFeature) -> str:
    """Features of one width learn in one table; pretrained ones that are frozen lie in one that does not."""
    initializer = feature.initializer
    frozen = isinstance(initializer, Initializer) and not initializer.trainable
    return f"{'frozen' if frozen else 'dim'}{feature.embed_dim}"


def _distinct(features: Sequence[Feature]) -> list[Feature]:
    distinct: dict[str, Feature] = {}
    for feature in features:
        if distinct.setdefault(feature.name, feature) != feature:
            raise ValueError(f"Two different features are called '{feature.name}': {distinct[feature.name]!r} and {feature!r}. Rename one.")
    return list(distinct.values())


def _check_sharing(features: Sequence[Feature], groups: Mapping[str, Sequence[EmbeddedFeature]]) -> None:
    owners = {owner.name: owner for group in groups.values() for owner in group}
    for feature in features:
        if not isinstance(feature, EmbeddedFeature) or feature.shared_with is None:
            continue
        owner = owners.get(feature.shared_with)
        if owner is None:
            raise ValueError(
                f"{feature!r}: shared_with='{feature.shared_with}' names no feature with a table here; there are {list(owners)}."
            )
        if (owner.vocab_size, owner.embed_dim) != (feature.vocab_size, feature.embed_dim):
            raise ValueError(f"{feature!r} is shared with {owner!r}: vocab_size and embed_dim must be equal.")
