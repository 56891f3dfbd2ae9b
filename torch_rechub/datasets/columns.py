"""The type of a data set's subsets, and the features of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from torch_rechub.basic.features import DenseFeature, SparseFeature, get_auto_embedding_dim

__all__ = ["Split", "describe_columns"]


class Split(NamedTuple):
    """A subset of the rows of a data set: ``x, y = data.train``.

    Args:
        x: column name -> values; float32 for dense columns, int32 ids for sparse columns.
        y: the labels, float32, 0 or 1.

    Shape:
        every column and ``y``: ``(N,)``.

    Example:
        >>> x, y = Split({"age": np.zeros(2, np.float32)}, np.ones(2, np.float32))
        >>> y.mean()
        np.float32(1.0)
    """

    x: dict[str, np.ndarray]
    y: np.ndarray

    def __repr__(self) -> str:
        return f"Split({len(self.y):,} rows of {len(self.x)} columns, {self.y.mean():.1%} positive)"


def describe_columns(
    dense: Iterable[str], vocab_sizes: Mapping[str, int], embed_dim: int | None
) -> tuple[list[DenseFeature], list[SparseFeature]]:
    """The dense and the sparse features of a data set.

    Args:
        dense: names of the dense columns.
        vocab_sizes: sparse column -> number of ids.
        embed_dim: the embedding dimension; None uses the automatic dimension of each column.

    Example:
        >>> describe_columns(["age"], {"city": 20}, embed_dim=8)
        ([<DenseFeature age>], [<SparseFeature city with Embedding shape (20, 8)>])
    """
    dims = {name: get_auto_embedding_dim(size) if embed_dim is None else embed_dim for name, size in vocab_sizes.items()}
    sparse = [SparseFeature(name, vocab_sizes[name], dim) for name, dim in dims.items()]
    return [DenseFeature(name) for name in dense], sparse
