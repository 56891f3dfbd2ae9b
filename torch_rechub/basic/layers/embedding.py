"""The embedding layer, through which every model reads its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch.checks import check_features
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature, SparseFeature, mark_as_used
from torch_rechub.basic.initializers import Initializer
from torch_rechub.basic.layers.column_order import column_order, order_error
from torch_rechub.basic.layers.feature_embedding import EmbedDict, FeatureEmbedding
from torch_rechub.basic.layers.lookup import Embedded, LookupPlan
from torch_rechub.basic.layers.mask import InputMask
from torch_rechub.basic.layers.plain import are_plain
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.torch_private import local_metadata_of, untraced
from torch_rechub.types import Features

__all__ = ["EmbeddingLayer", "FeatureEmbedding"]


#: The key of the column order in a module's metadata.
COLUMNS = "columns"


@named_arguments
class EmbeddingLayer(nn.Module):
    """One fused table for each embedding width, with the state of one embedding per feature.

    Two layers made from one list of features never share weights. ``state_dict`` has one key per feature, ``embed_dict.<feature>.weight``.
    The layers that follow read columns by position. Therefore the ``state_dict`` of a model also stores the order of the columns, in the
    metadata that torch stores beside the weights, and a model with another order refuses to load it. Weights without this metadata (a
    plain dict, weights of the existing package) are loaded without the check.

    Args:
        features: the features that the layer can embed; a feature may be listed twice.

    Shape:
        ``layer(x, features, squeeze_dim=True)``: ``(B, sum of embed_dim)``, embedded columns in the given order, then dense columns.
        ``layer(x, features)``: ``(B, F, D)`` of the embedded columns; ``(B, F, L, D)`` for sequences with ``pooling="concat"``, and for
        sparse features whose ids are ``(B, L)``, as field-aware models give them.

    Raises:
        ValueError: two different embedded features, or two dense ones, have the same name; ``shared_with`` is not a feature of the
            list, or one of another shape; in the forward pass, a column is missing or an id is outside its vocabulary.

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
        self.input_mask = InputMask()
        distinct = _distinct(self.features)
        self.n_dense = sum(isinstance(feature, DenseFeature) for feature in distinct)
        groups: dict[str, list[EmbeddedFeature]] = {}
        for feature in distinct:
            if isinstance(feature, EmbeddedFeature) and feature.shared_with is None:
                groups.setdefault(_table_key(feature), []).append(feature)
        # The name holds "embed_dict", by which scripts pick the parameters of embeddings.
        self.embed_dict_tables = nn.ModuleDict({key: EmbeddingTable(group, not key.startswith("frozen")) for key, group in groups.items()})
        self._table_keys = {feature.name: key for key, group in groups.items() for feature in group}
        _check_sharing(distinct, groups)
        self._changes = [0]
        owners = [feature for group in groups.values() for feature in group]
        embeddings = {owner.name: FeatureEmbedding(self.table_of(owner.name), owner, self._changes) for owner in owners}
        self.embed_dict = EmbedDict(embeddings, self.tables, self._changes)
        self._plans: dict[tuple[int, ...], LookupPlan] = {}
        mark_as_used(self.features)

    def forward(self, x: Features, features: Sequence[Feature] | Feature, squeeze_dim: bool = False) -> Tensor:
        requested = [features] if isinstance(features, DenseFeature | EmbeddedFeature) else features
        embedded = self._look_up(x, requested, wide=True)
        return embedded.flat(requested) if squeeze_dim else embedded.stacked(requested)

    def look_up(self, x: Features, features: Sequence[Feature]) -> Embedded | EmbeddedByCalls:
        """Read all columns of ``features`` with one lookup per table; the result can be split by any lists of these features.

        Where the layer has hooks or is of another class, each split calls the layer instead, so that hooks and an overridden ``forward``
        take part.
        """
        return self._look_up(x, features) if are_plain([self], EmbeddingLayer) else EmbeddedByCalls(self, x)

    def _look_up(self, x: Features, features: Sequence[Feature], wide: bool = False) -> Embedded:
        plan = self._plan_for(features)
        check_features(x, plan.features, wide=wide)
        return plan(x, wide)

    def _plan_for(self, features: Sequence[Feature]) -> LookupPlan:
        key = (self._changes[0], *map(id, features))
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) == 64:  # the caller creates new feature objects at every step
                self._plans.clear()
            with untraced() if torch.jit.is_tracing() else nullcontext():
                self._plans[key] = plan = LookupPlan(features, self.table_of, self._called, self.tables.values())
        return plan

    def _called(self, name: str) -> nn.Module | None:
        """The module to call for the rows of ``name``; None where the fused lookup does the same."""
        module = dict(self.embed_dict.items()).get(name)
        fused = isinstance(module, FeatureEmbedding) and module.is_part and are_plain([module], FeatureEmbedding)
        return None if fused else module

    @property
    def tables(self) -> nn.ModuleDict:
        """The fused tables by their widths."""
        return self.embed_dict_tables

    def table_of(self, name: str) -> EmbeddingTable:
        """The table that holds the rows of feature ``name``."""
        if name not in self._table_keys:
            raise ValueError(
                f"EmbeddingLayer: feature '{name}' has no table; features with a table: {list(self._table_keys)}. Add it to the layer."
            )
        table = self.tables[self._table_keys[name]]
        assert isinstance(table, EmbeddingTable)
        return table

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _plans={})  # plans refer to the tables of this layer, so a copy needs new ones

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        metadata = local_metadata_of(destination, prefix)  # the weights are saved by ``embed_dict``
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
        if prefix:  # without a prefix this layer is loaded alone, and its weights are found by name
            error_msgs += order_error(prefix[:-1], local_metadata.get(COLUMNS), column_order(self.features))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)


class EmbeddedByCalls:
    """The result of a lookup whose splits are calls of the layer."""

    def __init__(self, layer: EmbeddingLayer, x: Features) -> None:
        self._layer = layer
        self._x = x

    def stacked(self, features: Sequence[Feature]) -> Tensor:
        """As :meth:`Embedded.stacked`."""
        stacked = self._layer(self._x, features)
        one_id = stacked.dim() == 4 and all(isinstance(feature, SparseFeature) for feature in features)
        return stacked.squeeze(2) if one_id else stacked

    def flat(self, features: Sequence[Feature]) -> Tensor:
        """As :meth:`Embedded.flat`."""
        return self._layer(self._x, features, squeeze_dim=True)

    def through(
        self, module: nn.Module, features: Sequence[Feature], further: Sequence[Tensor] = (), leading: Sequence[Tensor] = ()
    ) -> Tensor:
        """As :meth:`Embedded.through`."""
        columns = [self.flat(features)] if features or not (further or leading) else []
        return module(torch.cat([*leading, *columns, *further], dim=1))


def _table_key(feature: EmbeddedFeature) -> str:
    """The key of the table: one per width for trained features, and one per width for frozen pretrained features."""
    initializer = feature.initializer
    frozen = isinstance(initializer, Initializer) and not initializer.trainable
    return f"{'frozen' if frozen else 'dim'}{feature.embed_dim}"


def _distinct(features: Sequence[Feature]) -> list[Feature]:
    """Each feature once. A dense and an embedded feature may read one column."""
    distinct: dict[tuple[str, bool], Feature] = {}
    for feature in features:
        first = distinct.setdefault((feature.name, isinstance(feature, DenseFeature)), feature)
        if first != feature:
            raise ValueError(f"Two different features are named '{feature.name}': {first!r} and {feature!r}. Rename one.")
    return list(distinct.values())


def _check_sharing(features: Sequence[Feature], groups: Mapping[str, Sequence[EmbeddedFeature]]) -> None:
    owners = {owner.name: owner for group in groups.values() for owner in group}
    for feature in features:
        if not isinstance(feature, EmbeddedFeature) or feature.shared_with is None:
            continue
        owner = owners.get(feature.shared_with)
        if owner is None:
            raise ValueError(
                f"{feature!r}: shared_with='{feature.shared_with}' must name a feature with a table of its own; there are {list(owners)}."
            )
        if (owner.vocab_size, owner.embed_dim) != (feature.vocab_size, feature.embed_dim):
            raise ValueError(f"{feature!r} is shared with {owner!r}: vocab_size and embed_dim must be equal. Change one of them.")
