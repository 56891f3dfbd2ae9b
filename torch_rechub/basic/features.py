"""Immutable descriptions of columns. They hold no weights, so one list of features can describe any number of models.

Source of the automatic embedding width: Wang et al., *Deep & Cross Network for Ad Click Predictions*, ADKDD 2017, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.initializers import RandomNormal

__all__ = ["DenseFeature", "EmbeddedFeature", "Feature", "Pooling", "SequenceFeature", "SparseFeature", "get_auto_embedding_dim"]

Pooling: TypeAlias = Literal["mean", "sum", "concat"]
MakeEmbedding: TypeAlias = Callable[..., nn.Embedding]


def get_auto_embedding_dim(num_classes: int) -> int:
    """The embedding width for a vocabulary size: ``floor(6 * num_classes ** 0.25)`` (DCN, ADKDD 2017).

    Example:
        >>> get_auto_embedding_dim(1000)
        33
    """
    return int(6 * num_classes**0.25)


@named_arguments
@dataclass(frozen=True, repr=False)
class DenseFeature:
    """A column of numbers, or of vectors of numbers, that a model reads without an embedding.

    Args:
        name: name of the column.
        embed_dim: 1 for a number, or the length of the vector.

    Raises:
        ValueError: ``embed_dim`` is below 1.

    Example:
        >>> DenseFeature("age")
        <DenseFeature age>
    """

    name: str
    embed_dim: int = 1

    def __post_init__(self) -> None:
        _check_name(self.name, type(self).__name__)
        _check_size(self, "embed_dim", self.embed_dim)

    def __repr__(self) -> str:
        return f"<DenseFeature {self.name}>"


@named_arguments
@dataclass(frozen=True, repr=False)
class EmbeddedFeature:
    """The base class of :class:`SparseFeature` and :class:`SequenceFeature`: ids that are looked up in an embedding table."""

    name: str
    vocab_size: int
    embed_dim: int = None  # type: ignore[assignment]  # None means the automatic width; an int after construction

    shared_with: str | None = None
    padding_idx: int | None = None
    initializer: MakeEmbedding = RandomNormal(0, 0.0001)  # immutable, so a shared default is safe

    def __post_init__(self) -> None:
        _check_name(self.name, type(self).__name__)
        _check_size(self, "vocab_size", self.vocab_size)
        if self.embed_dim is None:  # pyright: ignore[reportUnnecessaryComparison]
            object.__setattr__(self, "embed_dim", get_auto_embedding_dim(self.vocab_size))
        _check_size(self, "embed_dim", self.embed_dim)
        if self.padding_idx is not None and not 0 <= self.padding_idx < self.vocab_size:
            raise ValueError(
                f"{type(self).__name__} '{self.name}': padding_idx must be >= 0 and < vocab_size={self.vocab_size}; got {self.padding_idx}."
            )

    @property
    def table_name(self) -> str:
        """The name of the feature whose table is read: ``shared_with``, or the name of this feature."""
        return self.shared_with or self.name

    def get_embedding_layer(self) -> nn.Embedding:
        """A new embedding of this feature's shape, for code that builds its own layers; the feature does not store it."""
        return self.initializer(self.vocab_size, self.embed_dim, padding_idx=self.padding_idx)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} with Embedding shape ({self.vocab_size}, {self.embed_dim})>"


@named_arguments
@dataclass(frozen=True, repr=False)
class SparseFeature(EmbeddedFeature):
    """A column with one id per row.

    Args:
        name: name of the column.
        vocab_size: number of ids; a column holds 0 .. vocab_size - 1.
        embed_dim: width of the embedding; None means :func:`get_auto_embedding_dim`.
        shared_with: name of another feature whose table this feature reads.
        padding_idx: an id whose row is zero and is not trained.
        initializer: initial values of the table, see :mod:`torch_rechub.basic.initializers`.

    Raises:
        ValueError: a size is below 1, or ``padding_idx`` is not an id of the vocabulary.

    Example:
        >>> SparseFeature("city", vocab_size=20, embed_dim=8)
        <SparseFeature city with Embedding shape (20, 8)>
    """


@named_arguments
@dataclass(frozen=True, repr=False, init=False)
class SequenceFeature(EmbeddedFeature):
    """A column with a list of ids per row, padded to one length ``L``.

    Args:
        name: name of the column.
        vocab_size: number of ids, including the padding id.
        embed_dim: width of the embedding; None means :func:`get_auto_embedding_dim`.
        pooling: "mean" or "sum" over the ids that are not padding, or "concat" to keep all ``L`` embeddings.
        shared_with: name of another feature whose table this feature reads.
        padding_idx: the id that fills short lists; None means that no id is padding.
        initializer: initial values of the table.

    Raises:
        ValueError: a size is below 1, ``padding_idx`` is not an id of the vocabulary, or ``pooling`` is none of the three.

    Example:
        >>> SequenceFeature("last_clicks", vocab_size=1000, embed_dim=8, pooling="mean", shared_with="item", padding_idx=0)
        <SequenceFeature last_clicks with Embedding shape (1000, 8)>
    """

    pooling: Pooling = "mean"

    def __init__(
        self,
        name: str,
        vocab_size: int,
        embed_dim: int | None = None,
        pooling: Pooling = "mean",
        shared_with: str | None = None,
        padding_idx: int | None = None,
        initializer: MakeEmbedding = RandomNormal(0, 0.0001),
    ) -> None:
        arguments = {"name": name, "vocab_size": vocab_size, "embed_dim": embed_dim, "pooling": pooling}
        arguments |= {"shared_with": shared_with, "padding_idx": padding_idx, "initializer": initializer}
        for field, value in arguments.items():
            object.__setattr__(self, field, value)
        self.__post_init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"SequenceFeature '{name}': pooling must be one of {list(get_args(Pooling))}; got {pooling!r}.")


Feature: TypeAlias = DenseFeature | SparseFeature | SequenceFeature


def _check_name(name: str, class_name: str) -> None:
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{class_name}: name must be a non-empty string; got {name!r}.")


def _check_size(feature: DenseFeature | EmbeddedFeature, field: str, size: int) -> None:
    try:
        is_integer = int(size) == size
    except (TypeError, ValueError):
        is_integer = False
    if not is_integer or size < 1:
        raise ValueError(f"{type(feature).__name__} '{feature.name}': {field} must be a whole number >= 1; got {size!r}.")
    object.__setattr__(feature, field, int(size))
