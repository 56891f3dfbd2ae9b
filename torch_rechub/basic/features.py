"""Descriptions of columns. They hold no weights, so one list of features can describe any number of models.

The fields of a feature may be assigned until a layer uses it, because a layer cannot follow a later change.

Source of the automatic embedding width: Wang et al., *Deep & Cross Network for Ad Click Predictions*, ADKDD 2017, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.initializers import RandomNormal

__all__ = [
    "DenseFeature",
    "EmbeddedFeature",
    "Feature",
    "Pooling",
    "SequenceFeature",
    "SparseFeature",
    "get_auto_embedding_dim",
    "mark_as_used",
]

Pooling: TypeAlias = Literal["mean", "sum", "concat"]
MakeEmbedding: TypeAlias = Callable[..., nn.Embedding]


def get_auto_embedding_dim(num_classes: int) -> int:
    """The embedding width for a vocabulary size: ``floor(6 * num_classes ** 0.25)`` (DCN, ADKDD 2017).

    Example:
        >>> get_auto_embedding_dim(1000)
        33
    """
    return int(6 * num_classes**0.25)


class _Column:
    """A dataclass whose fields are checked when they are assigned, and cannot be assigned any more once a layer uses it.

    Equal are columns of one class with equal fields. The hash is that of the name, so that it stays when another field is assigned.
    Attributes that are no fields may be assigned at any time; they mean nothing to the library.
    """

    name: str
    _is_complete: bool = False  # no fields, since this class is no dataclass
    _is_used: bool = False
    _is_automatic: bool = False  # whether embed_dim follows vocab_size

    def __post_init__(self) -> None:
        self._check()
        self._is_complete = True

    def _check(self) -> None:
        """Refuse fields that do not fit, and compute those that were not given."""
        raise NotImplementedError

    def __setattr__(self, field: str, value: Any) -> None:
        if not self._is_complete or field not in self._field_names():
            object.__setattr__(self, field, value)
            return
        if self._is_used:
            raise AttributeError(
                f"{type(self).__name__} '{self.name}': {field} cannot be set to {value!r}, because a layer uses the feature. Assign it "
                f"before the model is made, or make another feature: dataclasses.replace(feature, {field}={value!r})."
            )
        before = dict(vars(self))
        try:
            self._assign(field, value)
            self._check()
        except BaseException:
            vars(self).update(before)
            raise

    def _assign(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    @classmethod
    def _field_names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all((getattr(self, name),) == (getattr(other, name),) for name in self._field_names())

    def __hash__(self) -> int:
        return hash((type(self), self.name))


def mark_as_used(features: Iterable[Any]) -> None:
    """From now on the fields of these features cannot be assigned, because a layer or a plan was made from them."""
    for feature in features:
        if isinstance(feature, _Column):
            feature._is_used = True


@named_arguments
@dataclass(eq=False, repr=False)
class DenseFeature(_Column):
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

    def _check(self) -> None:
        _check_name(self.name, type(self).__name__)
        _check_size(self, "embed_dim", self.embed_dim)

    def __repr__(self) -> str:
        return f"<DenseFeature {self.name}>"


@named_arguments
@dataclass(eq=False, repr=False)
class EmbeddedFeature(_Column):
    """The base class of :class:`SparseFeature` and :class:`SequenceFeature`: ids that are looked up in an embedding table."""

    name: str
    vocab_size: int
    embed_dim: int = None  # type: ignore[assignment]  # None means the automatic width; an int after construction
    shared_with: str | None = None
    padding_idx: int | None = None
    initializer: MakeEmbedding = RandomNormal(0, 0.0001)  # immutable, so a shared default is safe

    def _assign(self, field: str, value: Any) -> None:
        if field == "embed_dim":
            self._is_automatic = False
        if field == "vocab_size" and self._is_automatic:
            object.__setattr__(self, "embed_dim", None)  # computed anew
        super()._assign(field, value)

    def _check(self) -> None:
        _check_name(self.name, type(self).__name__)
        _check_size(self, "vocab_size", self.vocab_size)
        if self.embed_dim is None:  # pyright: ignore[reportUnnecessaryComparison]
            self._is_automatic = True
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
        mark_as_used([self])
        return self.initializer(self.vocab_size, self.embed_dim, padding_idx=self.padding_idx)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} with Embedding shape ({self.vocab_size}, {self.embed_dim})>"


@named_arguments
@dataclass(eq=False, repr=False)
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
@dataclass(eq=False, repr=False, init=False)
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

    def _check(self) -> None:
        super()._check()
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"SequenceFeature '{self.name}': pooling must be one of {list(get_args(Pooling))}; got {self.pooling!r}.")


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
