"""The base class of streaming metrics. A metric is a monoid, and it states whether higher or lower is better.

``update`` adds a batch, ``merge`` adds the batches of another metric, ``compute`` returns the value. Merging the metrics of several
processes, in any grouping, gives the value that one process would have computed: nothing is averaged over batches or processes.
"""

from __future__ import annotations

import copy
import difflib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.chunks import Chunks
from torch_rechub.logs import warn_once
from torch_rechub.report.records import RECORD_FIELDS, is_record_field
from torch_rechub.types import Features

__all__ = ["RECORD_FIELDS", "Metric", "check_metric_name"]

logger = logging.getLogger(__name__)
MetricT = TypeVar("MetricT", bound="Metric")


@named_arguments
class Metric(ABC):
    """A value that is computed over batches.

    A subclass implements :meth:`keep`, which returns the data to store of one batch, and :meth:`compute`, which computes the value from
    the stored data. ``AUC`` is an example that stores the rows, ``MeanMetric`` is an example that stores sums.

    Attributes:
        name: the name of the value in the history. It may be assigned, to distinguish two metrics of one class.
        higher_is_better: True or False; None when neither direction is better. A metric with None cannot be monitored.
        columns: the columns of ``x`` that the metric reads.
        labels: the labels that it takes: "binary" for 0 and 1 only, "unit" for numbers in [0, 1], "any". ``fit`` checks them before the
            first step.
        keeps: the names of the stored columns, which are the keys of the metric's state.
    """

    name: str
    higher_is_better: bool | None
    columns: tuple[str, ...] = ()
    purpose: ClassVar[str] = "which the metric reads"  # what an error says of a missing column
    labels: ClassVar[Literal["binary", "unit", "any"]] = "any"
    keeps: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._chunks = Chunks()

    @abstractmethod
    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """The columns to store of one batch. They have one length, and none is a view of an argument."""

    @abstractmethod
    def compute(self) -> float:
        """The value over all stored batches; NaN and a logged warning where it is not defined."""

    def empty(self: MetricT) -> MetricT:
        """A new metric with the same settings and no data."""
        fresh = copy.copy(self)
        fresh._chunks = Chunks()
        return fresh

    def update(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None = None, x: Features | None = None) -> None:
        """Add one batch. The host does not wait for the device, and later changes of the arguments do not change the metric.

        Args:
            y_true: labels.
            y_pred: probabilities or scores; half precision is converted to float32.
            weight: row weights, finite and >= 0; None gives each row the weight 1.
            x: the features, for metrics that read columns of them.

        Shape:
            ``y_true``, ``y_pred`` and ``weight``: ``(B,)`` or ``(B, 1)``.

        Raises:
            ValueError: when the lengths differ, a tensor has several columns, or a column that the metric reads is missing.
        """
        y_pred = self._as_column("y_pred", y_pred)
        y_true = self._as_column("y_true", y_true, like=y_pred)
        weight = None if weight is None else self._as_column("weight", weight, like=y_pred)
        if len(y_pred):
            self._chunks.append(self.keep(y_true, y_pred, weight, x))

    def check(self, y_true: Tensor, weight: Tensor | None = None, x: Any = None) -> None:
        """Check that rows can be measured, before there are predictions. Nothing is stored.

        Args:
            y_true: labels.
            weight: row weights.
            x: the features.

        Shape:
            ``y_true`` and ``weight``: ``(B,)`` or ``(B, 1)``.

        Raises:
            ValueError: when a column that the metric reads is missing or has not one number a row, or the labels are of another kind.

        Example:
            >>> from torch_rechub.basic.metric import AUC
            >>> AUC().check(torch.tensor([0.0, 0.3]))
            Traceback (most recent call last):
            ValueError: auc: y_true must hold only 0 and 1; got 0.3 at row 1. Make the labels binary first, ...
        """
        y_true = self._as_column("y_true", y_true)
        if weight is not None:
            self._as_column("weight", weight, like=y_true)
        for name in self.columns:
            if not isinstance(x, Mapping) or name not in x:
                named = suggest_name(name, x) if isinstance(x, Mapping) else f"x is a {type(x).__name__}."
                raise ValueError(f"{self.name}: x must hold the column '{name}', {self.purpose}. {named}")
            self._as_column(f"x['{name}']", x[name], like=y_true)
        check_label_kind(self.name, self.labels, y_true)

    def merge(self, other: Metric) -> None:
        """Add all batches of ``other``. ``other`` is not changed."""
        if type(other) is not type(self):
            raise TypeError(f"{self.name}: only a metric of the same class can be merged into {type(self).__name__}; got {other!r}.")
        self._chunks.extend(other._chunks)

    def state_dict(self) -> dict[str, Any]:
        """The stored data as tensors on the CPU. It suffices to resume later, or to merge the metric in another process."""
        return dict(self._chunks.table())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the stored data by the result of :meth:`state_dict`."""
        unknown = set(state) - set(self.keeps)
        if unknown:
            raise ValueError(
                f"{self.name}: the state must hold only {list(self.keeps)}; got also {sorted(unknown)}. Load a state of the same class."
            )
        self._chunks = Chunks({name: torch.as_tensor(column).clone() for name, column in state.items()})

    def undefined(self, why: str) -> float:
        """Log the reason ``why`` the value is not defined, once in a run, and return NaN."""
        return undefined(self.name, why)

    def _as_column(self, what: str, values: Tensor, like: Tensor | None = None) -> Tensor:
        """``values`` as ``(B,)`` without gradient, at least float32 if floating; on the device and of the length of ``like``."""
        if not isinstance(values, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{self.name}: {what} must be a tensor of numbers; got {type(values).__name__}. Encode it as integers.")
        if values.dim() > 1 and values.numel() != values.shape[0]:
            raise ValueError(f"{self.name}: {what} must be (B,) or (B, 1); got {tuple(values.shape)}. Use one metric for each column.")
        values = values.detach().reshape(-1)  # (B,)
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()
        if like is None:
            return values
        if len(values) != len(like):
            raise ValueError(f"{self.name}: {what} must have as many rows as y_pred; got {len(values)} and {len(like)}.")
        return values.to(like.device)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def check_label_kind(name: str, kind: Literal["binary", "unit", "any"], y_true: Tensor) -> None:
    """Refuse labels that the metric ``name`` does not take; see ``Metric.labels``.

    Raises:
        ValueError: naming the first such label and its row.
    """
    if kind not in {"binary", "unit"}:
        return
    valid = (y_true == 0) | (y_true == 1) if kind == "binary" else (y_true >= 0) & (y_true <= 1)
    if bool(valid.all()):
        return
    row = int(valid.logical_not().nonzero()[0])
    must, remedy = (
        ("hold only 0 and 1", "Make the labels binary first, for example by (y > 0), or measure 'logloss' (labels in [0, 1]) or 'rmse'")
        if kind == "binary"
        else ("lie in [0, 1]", "Map the labels to [0, 1], or measure 'rmse'")
    )
    raise ValueError(f"{name}: y_true must {must}; got {y_true[row].item():.7g} at row {row}. {remedy}, by metrics=[...].")


def undefined(name: str, why: str) -> float:
    """Log the reason ``why`` the metric ``name`` has no value, once in a run, and return NaN."""
    warn_once(logger, (name, re.sub(r"\d+", "N", why)), "%s is not defined and becomes NaN: %s.", name, why)
    return float("nan")


def clone_columns(**columns: Tensor | None) -> dict[str, Tensor]:
    """Copies of the columns that are not None. A model may overwrite its output buffer at the next step, so views are not safe."""
    return {name: column.clone() for name, column in columns.items() if column is not None}


def suggest_name(name: str, known: Iterable[str]) -> str:
    """The last sentences of an error message: the known name that is closest to ``name``, if any, and all known names."""
    options = list(known)
    match = difflib.get_close_matches(name.lower(), options, n=1)
    return (f"Did you mean '{match[0]}'? " if match else "") + f"Known names: {options}."


def check_metric_name(name: Any, taken: Iterable[str] = ()) -> None:
    """Refuse a metric name that is also the name of a field of history records, or of another metric.

    Args:
        name: the metric's.
        taken: the names of other metrics.

    Raises:
        ValueError: suggesting a free name, when a record uses ``name`` otherwise, or it is one of ``taken``.
        TypeError: when it is no text, or empty.

    Example:
        >>> check_metric_name("auc")
        >>> check_metric_name("loss")
        Traceback (most recent call last):
        ValueError: A metric must not be named 'loss': each history record has a field of this name. Name it 'loss_metric' instead.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"A metric must have a name, which is a text; got {name!r}. Assign .name, or set it in the class.")
    others = set(taken)
    if is_record_field(name):
        why = "each history record has a field of this name"
    elif name in others:
        why = "another metric has this name"
    else:
        return
    base, slash, task = name.partition("/")
    free = f"{base}_metric"
    while f"{free}{slash}{task}" in others:
        free += "_2"
    raise ValueError(f"A metric must not be named '{name}': {why}. Name it '{free}{slash}{task}' instead.")
