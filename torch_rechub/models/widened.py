"""Features with several embeddings for each id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch_rechub.basic.features import Feature

__all__ = ["widened"]


def widened(features: Sequence[Feature], factor: int) -> list[Feature]:
    """The same features with ``factor`` embeddings for each id, side by side in one table, so that one lookup reads them all.

    An initializer fills the row of all of them.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> widened([SparseFeature("item", 20, 4)], 3)
        [<SparseFeature item with Embedding shape (20, 12)>]
    """
    return [replace(feature, embed_dim=factor * feature.embed_dim) for feature in features]
