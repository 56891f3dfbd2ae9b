"""What models of a user's history share: the check of their lists of features, and which entries of a history are no padding."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from torch_rechub.basic.features import EmbeddedFeature, Feature, SequenceFeature
from torch_rechub.models.arguments import feature_list
from torch_rechub.types import Features

__all__ = ["histories_of", "history_arguments", "is_entry", "padding_id"]

logger = logging.getLogger(__name__)


def history_arguments(
    model: str, features: Any, history_features: Any, target_features: Any
) -> tuple[list[Feature], list[SequenceFeature], list[Feature]]:
    """The three lists of a model that compares a target with a history: the i-th history is one of the i-th target.

    A history without a ``padding_idx`` is padded with id 0, as ``generate_seq_feature`` writes it, and a warning says so.

    Raises:
        TypeError: naming what is no feature.
        ValueError: a history is no whole sequence, there is none, another feature is one, or a history and its target differ in width.
    """
    others, targets = feature_list(model, "features", features), feature_list(model, "target_features", target_features)
    for name, listed in (("features", others), ("target_features", targets)):
        for feature in listed:
            if getattr(feature, "pooling", None) == "concat":
                raise ValueError(f"{model}: {name}: sequences must be pooled by 'mean' or 'sum'; got {feature!r}. Use history_features.")
    if not all(isinstance(feature, EmbeddedFeature) for feature in targets):
        raise ValueError(f"{model}: target_features must be embedded features; got {targets}. Move dense ones to features.")
    histories = histories_of(model, "history_features", history_features)
    if len(histories) > len(targets):
        n = f"{len(histories)} histories and {len(targets)} targets"
        raise ValueError(f"{model}: target_features must have one feature for each of history_features, in their order; got {n}.")
    for history, target in zip(histories, targets, strict=False):
        if history.embed_dim != target.embed_dim:
            widths = {history.name: history.embed_dim, target.name: target.embed_dim}
            raise ValueError(f"{model}: a history and its target must have one embed_dim; got {widths}. Use shared_with={target.name!r}.")
    return others, histories, targets


def histories_of(model: str, argument: str, features: Any) -> list[SequenceFeature]:
    """A list of sequences that are kept whole, at least one.

    Raises:
        TypeError: naming what is no feature.
        ValueError: there is none, or one is of another kind.
    """
    histories: list[SequenceFeature] = []
    for feature in feature_list(model, argument, features):
        if not isinstance(feature, SequenceFeature) or feature.pooling != "concat":
            raise ValueError(f"{model}: {argument} must be SequenceFeature(..., pooling='concat'); got {feature!r}.")
        if feature.padding_idx is None:
            logger.warning(
                "%s: history '%s' has no padding_idx; its id 0 is taken as padding. Give padding_idx=0 to say so, or the id that pads",
                model,
                feature.name,
            )
        histories.append(feature)
    if not histories:
        raise ValueError(f"{model}: {argument} must hold at least one history; got none.")
    return histories


def padding_id(feature: SequenceFeature) -> int:
    """The id that fills a history."""
    return feature.padding_idx or 0


def is_entry(x: Features, feature: SequenceFeature) -> Tensor:
    """Where a history has an entry and no padding, ``(B, L)``."""
    return x[feature.name].long() != padding_id(feature)
