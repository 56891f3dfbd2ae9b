"""Checks of input values before they change a weight: ids beyond the vocabulary, values that are not finite, labels out of range.

On the CPU a packed batch is checked by two tests of whole matrices; only where one fails are its features checked one by one, to name the
feature and the row. On CUDA nothing waits for the device: the conditions are asserted there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.batch.check_plan import plan_for
from torch_rechub.basic.batch.packed import PackedFeatures
from torch_rechub.basic.features import DenseFeature, Feature, SequenceFeature, SparseFeature
from torch_rechub.torch_private import assert_async, disable_compile, without_transforms
from torch_rechub.types import Features

__all__ = ["check_features", "check_labels"]

logger = logging.getLogger(__name__)

_FLOAT32_WHOLE = 2**24  # float32 holds every whole number up to here


_of_trained_model: ContextVar[bool] = ContextVar("of_trained_model", default=False)


_row_numbers: ContextVar[Tensor | None] = ContextVar("row_numbers", default=None)


@contextmanager
def rows_numbered_by(numbers: Tensor | None) -> Generator[None, None, None]:
    """Within, an error names row i by ``numbers[i]``, the number of the row in the user's table; None numbers them from 0."""
    token = _row_numbers.set(numbers)
    try:
        yield
    finally:
        _row_numbers.reset(token)


@contextmanager
def of_trained_model() -> Generator[None, None, None]:
    """Within, an id beyond the vocabulary is one that training has not seen; a larger vocabulary would not help."""
    token = _of_trained_model.set(True)
    try:
        yield
    finally:
        _of_trained_model.reset(token)


def check_features(x: Features, features: Sequence[Feature], rows_of: str = "the batch", wide: bool = False) -> None:
    """Check that ``x`` holds what ``features`` describe, before a table is read by its ids.

    Args:
        x: a batch or a whole table, as a mapping or packed. Its other columns are not checked.
        features: what a model reads. Pass the same tuple each time: its check plan is cached.
        rows_of: what the row number of an error refers to; "" for a whole table.
        wide: whether a sparse feature may have several ids a row, ``(B, L)``.

    A sparse feature of the name of a dense one reads the whole parts of a float column, as in the existing package; a warning says so.

    Raises:
        ValueError: when a feature is missing or has the wrong shape, an id is not a whole number, negative or beyond the vocabulary,
            or a dense value is not finite. On CUDA wrong values raise a device-side assertion.

    Example:
        >>> check_features({"city": torch.tensor([3, 25])}, [SparseFeature("city", vocab_size=20)])
        Traceback (most recent call last):
        ValueError: SparseFeature 'city': ids must be < vocab_size=20; got 25 at row 1 of the batch. Use vocab_size=26 or re-encode from 0.
    """
    if is_exporting() or torch.jit.is_tracing():
        return  # an exported model holds tensor operations alone
    if not isinstance(x, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"x must be a mapping of columns, {{name: tensor}}; got {type(x).__name__}.")
    if isinstance(x, PackedFeatures) and torch.compiler.is_compiling():
        _check_outside_the_graph(x, features, rows_of, wide)
        return
    requested = features
    if isinstance(x, PackedFeatures):
        plan = plan_for(x.layout, features)
        if _must_not_wait(x.ids):
            plan.assert_later(x)
            features = plan.others
        elif x.ids.is_cpu and plan.is_valid(x):
            features = plan.others
    for feature in features:
        column = without_transforms(_column(x, feature, wide))
        if not isinstance(feature, DenseFeature) and column.is_floating_point() and _is_read_as_numbers(feature, requested):
            _check_whole_parts(feature, column, rows_of)
        else:
            _check_one(feature, column, rows_of)


def check_labels(y: Tensor, weight: Tensor | None = None, binary: bool = True, rows_of: str = "the batch") -> None:
    """Check that labels are finite, and in [0, 1] where they are binary; and that weights are finite and >= 0.

    Args:
        y: labels, ``(B,)`` or ``(B, T)``.
        weight: row weights, ``(B,)``.
        binary: labels must lie in [0, 1].
        rows_of: what the row number of an error refers to; "" for a whole table.

    Raises:
        ValueError: when they are not. On CUDA this raises a device-side assertion.

    Example:
        >>> check_labels(torch.tensor([0.0, 2.0]))
        Traceback (most recent call last):
        ValueError: Labels must lie in [0, 1]; got 2 at row 1 of the batch. Map them to 0 and 1, or use a criterion that takes such labels.
    """
    if is_exporting() or torch.jit.is_tracing():
        return
    y, weight = without_transforms(y), None if weight is None else without_transforms(weight)
    if weight is not None:
        remedy = "Give 0 to a row that should not count."
        _require(lambda v: (v >= 0) & v.isfinite(), weight, "Row weights must be finite and >= 0", remedy, rows_of)
    if binary and not _must_not_wait(y) and y.numel():
        lowest, highest = y.aminmax()  # NaN if there is one, which fails both comparisons
        if lowest.item() >= 0 and highest.item() <= 1:
            return
    remedy = "Drop or fill such rows."
    _require(torch.isfinite, y, "Labels must be finite", remedy, rows_of)
    if binary:
        remedy = "Map them to 0 and 1, or use a criterion that takes such labels."
        _require(lambda v: (v >= 0) & (v <= 1), y, "Labels must lie in [0, 1]", remedy, rows_of)


#: Exported models contain no checks.
is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


@disable_compile
def _check_outside_the_graph(x: Features, features: Sequence[Feature], rows_of: str, wide: bool) -> None:
    """The check of a packed batch within compiled code: it runs as it does without a compiler, before the graph."""
    check_features(x, features, rows_of, wide)


def _must_not_wait(values: Tensor) -> bool:
    """Whether reading a result would wait for the device, or break a compiled graph."""
    return values.is_cuda or torch.compiler.is_compiling()


def _column(x: Features, feature: Feature, wide: bool) -> Tensor:
    """The column of a feature, with its shape checked."""
    what = f"{type(feature).__name__} '{feature.name}'"
    if feature.name not in x:
        close = get_close_matches(feature.name, list(x), n=1)
        remedy = f"Did you mean '{close[0]}'?" if close else "Add it."
        raise ValueError(f"{what}: x must have this column; it has {_listed(x)}. {remedy}")
    column: Any = x[feature.name]
    if not isinstance(column, Tensor):
        raise TypeError(f"{what}: the column must be a tensor; got a {type(column).__name__}. Encode it as numbers: torch.tensor(...).")
    width = column.shape[1] if column.dim() == 2 else 1
    if isinstance(feature, SequenceFeature):
        fine, must, remedy = column.dim() == 2, "one list of ids a row, (rows, length)", "Pad it with pad_sequences, or use SparseFeature"
    elif isinstance(feature, SparseFeature):
        fine = column.dim() == 1 or (column.dim() == 2 and (wide or width == 1))
        must, remedy = "one id a row, (rows,)", "Flatten it, or use SequenceFeature"
    else:
        fine = column.dim() in (1, 2) and width == feature.embed_dim
        must, remedy = f"embed_dim={feature.embed_dim} numbers a row", f"Use embed_dim={width}"
    if not fine:
        raise ValueError(f"{what}: must be {must}; got shape {tuple(column.shape)}. {remedy}.")
    return column


def _listed(x: Features) -> str:
    names = list(x)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _check_one(feature: Feature, column: Tensor, rows_of: str) -> None:
    what = f"{type(feature).__name__} '{feature.name}'"
    if isinstance(feature, DenseFeature):
        if column.is_floating_point():
            remedy = "Fill missing values before they are batched, for example with the column's mean."
            _require(torch.isfinite, column, f"{what}: values must be finite", remedy, rows_of)
        return
    if column.is_floating_point():
        remedy = f"Encode it as ids from 0, or use DenseFeature('{feature.name}'). Give missing values an id of their own."
        _require(lambda v: (v == v.floor()) & v.isfinite(), column, f"{what}: ids must be whole numbers", remedy, rows_of)
        if feature.vocab_size > _FLOAT32_WHOLE and column.dtype == torch.float32:
            remedy = "Pass the column as integers: larger ids may have been rounded."
            _require(lambda v: v < _FLOAT32_WHOLE, column, f"{what}: ids in a float column must be < {_FLOAT32_WHOLE}", remedy, rows_of)
    _check_range(feature, what, column, rows_of)


def _is_read_as_numbers(feature: Feature, features: Sequence[Feature]) -> bool:
    """Whether a dense feature reads the column of ``feature`` as well."""
    return any(isinstance(other, DenseFeature) and other.name == feature.name for other in features)


def _check_whole_parts(feature: SparseFeature | SequenceFeature, column: Tensor, rows_of: str) -> None:
    """The check of a float column that is read as numbers and as ids: its whole parts are the ids."""
    what = f"{type(feature).__name__} '{feature.name}'"
    _require(torch.isfinite, column, f"{what}: values must be finite", "Fill missing values before they are batched.", rows_of)
    _check_range(feature, what, column.trunc(), rows_of)
    if not _must_not_wait(column) and bool((column != column.floor()).any()):
        _warn_of_whole_parts(what, feature.name)


@lru_cache(maxsize=256)  # one warning a feature: a batch is checked at every step
def _warn_of_whole_parts(what: str, name: str) -> None:
    message = "%s: the column holds fractions, of which the whole parts are the ids, since DenseFeature(%r) reads it too"
    logger.warning(message + ". Give the ids a column of their own, such as %r, if that is not meant", what, name, f"{name}_cat")


def _check_range(feature: SparseFeature | SequenceFeature, what: str, ids: Tensor, rows_of: str) -> None:
    size = feature.vocab_size
    if ids.numel() == 0:
        return
    if _must_not_wait(ids):
        assert_async(((ids >= 0) & (ids < size)).all(), f"{what}: ids must be >= 0 and < vocab_size={size}")
        return
    lowest, highest = (int(end.item()) for end in ids.aminmax())
    if lowest < 0:
        _require(lambda v: v >= 0, ids, f"{what}: ids must be >= 0", "Re-encode from 0; a missing value takes an id of its own.", rows_of)
    if highest >= size:
        remedy = f"Use vocab_size={highest + 1} or re-encode from 0."
        if _of_trained_model.get():
            remedy = "The model was trained without it: encode the values that were not in the training data as one id that was."
        _require(lambda v: v < size, ids, f"{what}: ids must be < vocab_size={size}", remedy, rows_of)


def _require(test: Callable[[Tensor], Tensor], values: Tensor, must: str, remedy: str, rows_of: str) -> None:
    """Raise an error that names the first row whose value fails ``test``."""
    valid = test(values)
    if _must_not_wait(values):
        assert_async(valid.all(), must)
        return
    if valid.all():
        return
    first = int(valid.flatten().logical_not().nonzero()[0])
    row = first // max(values[0].numel(), 1)
    numbers = _row_numbers.get()
    row = row if numbers is None else int(numbers[row])
    value = values.flatten()[first].item()
    shown = _shown(float(value))
    raise ValueError(f"{must}; got {shown} at row {row}{' of ' + rows_of if rows_of else ''}. {remedy}")


def _shown(value: float) -> str:
    """A value in words: a NaN is what a missing value has become."""
    if math.isnan(value):
        return "a missing value (NaN)"
    return str(int(value)) if value.is_integer() else f"{value:.7g}"
