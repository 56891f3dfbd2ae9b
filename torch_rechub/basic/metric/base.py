"""The base class of streaming metrics. A metric is a monoid, and it states whether higher or lower is better.

``update`` adds a batch, ``merge`` adds the batches of another metric, ``compute`` returns the value. Merging the metrics of several
processes, in any grouping, gives the value that one process would have computed: nothing is averaged over batches or processes.
"""

from __future__ import annotations

import copy
import difflib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from torch_rechub.basic.metric.chunks import Chunks
from torch_rechub.report.records import RECORD_FIELDS
from torch_rechub.types import Features

__all__ = ["RECORD_FIELDS", "Metric", "check_metric_name"]

logger = logging.getLogger(__name__)
MetricT = TypeVar("MetricT", bound="Metric")


class Metric(ABC):
    """A value that is computed over batches.

    A subclass implements :meth:`keep`, which returns the data to store of one batch, and :meth:`compute`, which computes the value from
    the stored data. ``AUC`` is an example that stores the rows, ``MeanMetric`` is an example that stores sums.

    Attributes:
        name: the name of the value in the history. It may be assigned, to distinguish two metrics of one class.
        higher_is_better: True or False; None when neither direction is better. A metric with None cannot be monitored.
        columns: the columns of ``x`` that the metric reads.
        keeps: the names of the stored columns, which are the keys of the metric's state.
    """

    name: str
    higher_is_better: bool | None
    columns: tuple[str, ...] = ()
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
        """Log the reason ``why`` the value is not defined, and return NaN."""
        return undefined(self.name, why)

    def _as_column(self, what: str, values: Tensor, like: Tensor | None = None) -> Tensor:
        """``values`` as ``(B,)`` without gradient, at least float32 if floating; on the device and of the length of ``like``."""
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


def undefined(name: str, why: str) -> float:
    """Log the reason ``why`` the metric ``name`` has no value, and return NaN."""
    logger.warning("%s is not defined and becomes NaN: %s.", name, why)
    return float("nan")


def clone_columns(**columns: Tensor | None) -> dict[str, Tensor]:
    """Copies of the columns that are not None. A model may overwrite its output buffer at the next step, so views are not safe."""
    return {name: column.clone() for name, column in columns.items() if column is not None}


def suggest_name(name: str, known: Iterable[str]) -> str:
    """The last sentences of an error message: the known name that is closest to ``name``, if any, and all known names."""
    options = list(known)
    match = difflib.get_close_matches(name.lower(), options, n=1)
    return (f"Did you mean '{match[0]}'? " if match else "") + f"Known names: {options}."


def check_metric_name(name: str) -> None:
    """Refuse a metric name that is also the name of a field of history records.

    Raises:
        ValueError: suggesting a free name, when ``name`` is one of ``RECORD_FIELDS``.

    Example:
        >>> check_metric_name("auc")
        >>> check_metric_name("loss")
        Traceback (most recent call last):
        ValueError: A metric must not be named 'loss': each history record has a field of this name. Name it 'loss_metric' instead.
    """
    if name in RECORD_FIELDS:
        raise ValueError(
            f"A metric must not be named '{name}': each history record has a field of this name. Name it '{name}_metric' instead."
        )
