"""What a law is, and the list of all laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from torch_rechub.basic.features import SequenceFeature

__all__ = ["LAWS", "DoesNotApplyError", "Law", "Sample", "features_of", "law", "without_dropout"]


class DoesNotApplyError(Exception):
    """A law says nothing about this model; the message tells why."""


class Sample(NamedTuple):
    """A plain batch: a dict of tensors, and labels ``(B,)``."""

    x: dict[str, Tensor]
    y: Tensor

    def clone(self) -> Sample:
        """A batch with the same values that may be written to."""
        return Sample({name: column.clone() for name, column in self.x.items()}, self.y.clone())

    def rows(self, rows: Tensor | slice) -> Sample:
        """Some of the rows."""
        return Sample({name: column[rows] for name, column in self.x.items()}, self.y[rows])

    def repeated(self, n: int) -> Sample:
        """All rows ``n`` times."""
        return Sample({name: column.repeat(n, *[1] * (column.dim() - 1)) for name, column in self.x.items()}, self.y.repeat(n))


class Law(NamedTuple):
    """One law: ``check(model, sample)`` gets copies, and raises where the law fails."""

    name: str
    sentence: str
    check: Callable[[nn.Module, Sample], None]


#: All laws by name, in the order in which they are checked.
LAWS: dict[str, Law] = {}


def law(name: str) -> Callable[[Callable[[nn.Module, Sample], None]], Callable[[nn.Module, Sample], None]]:
    """A decorator that adds a law; its sentence is the first line of the docstring."""

    def add(check: Callable[[nn.Module, Sample], None]) -> Callable[[nn.Module, Sample], None]:
        LAWS[name] = Law(name, (check.__doc__ or name).strip().splitlines()[0], check)
        return check

    return add


def features_of(model: nn.Module) -> list[object]:
    """The features that the model lists.

    Raises:
        DoesNotApplyError: it has no attribute ``features``.
    """
    features = getattr(model, "features", None)
    if not features:
        raise DoesNotApplyError("the model has no list `features`")
    return list(features)


def sequences_of(model: nn.Module) -> list[SequenceFeature]:
    """The sequence features of a model that have a padding id.

    Raises:
        DoesNotApplyError: it has none.
    """
    padded = [feature for feature in features_of(model) if isinstance(feature, SequenceFeature) and feature.padding_idx is not None]
    if not padded:
        raise DoesNotApplyError("the model reads no SequenceFeature with a padding_idx")
    return padded


def without_dropout(model: nn.Module) -> nn.Module:
    """The same model, with every dropout probability zero."""
    for module in model.modules():
        if isinstance(getattr(module, "p", None), float):
            module.p = 0.0  # type: ignore[assignment]
    return model
