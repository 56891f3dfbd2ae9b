"""What a metric is: a streaming monoid that knows its own direction.

``update`` takes a batch, ``merge`` takes another metric's batches, ``compute`` gives the number. Batches of several processes, merged in
any grouping, give what one process would have computed: nothing is averaged over batches or processes.
"""

from __future__ import annotations

import copy
import difflib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from torch_rechub.basic.metric.chunks import Chunks
from torch_rechub.types import Features

__all__ = ["Metric"]

logger = logging.getLogger(__name__)
MetricT = TypeVar("MetricT", bound="Metric")


class Metric(ABC):
    """A number that is computed over batches.

    A metric of one's own says what a batch leaves behind (:meth:`keep`) and how the number comes out of it (:meth:`compute`); see ``AUC``
    for one that keeps the rows, and ``MeanMetric`` for one that keeps sums.

    Attributes:
        name: the name under which the number is recorded; may be assigned, so that two of a kind can be told apart.
        higher_is_better: the direction; None when neither is better, and then the metric cannot be monitored.
        columns: the columns of ``x`` that it reads.
        keeps: the names of what it keeps, which are the keys of its state.
    """

    name: str
    higher_is_better: bool | None
    columns: tuple[str, ...] = ()
    keeps: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._kept = Chunks()

    @abstractmethod
    def keep(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, x: Features | None) -> Mapping[str, Tensor]:
        """What of one batch is kept: columns of one length, none of which is a view of what came."""

    @abstractmethod
    def compute(self) -> float:
        """The number over all that was kept; NaN, and a logged warning, where it is not defined."""

    def empty(self: MetricT) -> MetricT:
        """A fresh metric with the same settings that has seen nothing."""
        fresh = copy.copy(self)
        fresh._kept = Chunks()
        return fresh

    def update(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None = None, x: Features | None = None) -> None:
        """Take one batch. Nothing is read back from the device, and nothing is kept that a later step could change.

        Args:
            y_true: labels.
            y_pred: probabilities or scores; half precision is widened to float32.
            weight: weights of the rows, finite and >= 0; None is 1 for each row.
            x: the features, for a metric that reads columns of them.

        Shape:
            ``y_true``, ``y_pred`` and ``weight``: ``(B,)`` or ``(B, 1)``.

        Raises:
            ValueError: when the lengths differ, a tensor has several columns, or a column that the metric reads is missing.
        """
        y_pred = self._flat("y_pred", y_pred)
        y_true = self._flat("y_true", y_true, like=y_pred)
        weight = None if weight is None else self._flat("weight", weight, like=y_pred)
        if len(y_pred):
            self._kept.append(self.keep(y_true, y_pred, weight, x))

    def merge(self, other: Metric) -> None:
        """Take all that ``other`` has seen, as if it had come here; ``other`` stays as it is."""
        if type(other) is not type(self):
            raise TypeError(f"{self.name}: only a metric of the same class can be merged into {type(self).__name__}; got {other!r}.")
        self._kept.extend(other._kept)

    def state_dict(self) -> dict[str, Any]:
        """All that was kept, as tensors on the CPU: enough to go on after a stop, or to be sent to another process and merged there."""
        return dict(self._kept.table())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave, in place of what is here."""
        unknown = set(state) - set(self.keeps)
        if unknown:
            raise ValueError(
                f"{self.name}: its state holds only {list(self.keeps)}; got {sorted(unknown)} as well. Is it another metric's?"
            )
        self._kept = Chunks({name: torch.as_tensor(column).clone() for name, column in state.items()})

    def monitor_mode(self) -> Literal["max", "min"]:
        """How to monitor this metric.

        Raises:
            ValueError: when neither direction is better.
        """
        if self.higher_is_better is None:
            raise ValueError(f"'{self.name}' cannot be monitored: neither higher nor lower is better. Monitor 'logloss' or 'auc' instead.")
        return "max" if self.higher_is_better else "min"

    def undefined(self, why: str) -> float:
        """NaN, once the log says why."""
        return undefined(self.name, why)

    def _flat(self, what: str, values: Tensor, like: Tensor | None = None) -> Tensor:
        if values.dim() > 1 and values.numel() != values.shape[0]:
            raise ValueError(
                f"{self.name}: {what} must be (B,) or (B, 1); got {tuple(values.shape)}. Measure each column by a metric of its own."
            )
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
    """NaN, once the log says why the metric ``name`` has no value."""
    logger.warning("%s is not defined and becomes NaN: %s.", name, why)
    return float("nan")


def copied(**columns: Tensor | None) -> dict[str, Tensor]:
    """The columns that are given, in memory of their own: a model may reuse its output buffer at the next step."""
    return {name: column.clone() for name, column in columns.items() if column is not None}


def closest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: what ``name`` was perhaps meant to be, and what there is."""
    options = list(known)
    match = difflib.get_close_matches(name.lower(), options, n=1)
    return (f"Did you mean '{match[0]}'? " if match else "") + f"Known are {options}."
