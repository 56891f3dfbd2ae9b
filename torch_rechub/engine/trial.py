"""One call of a metric before the first step, on rows that are made up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.metric import FunctionMetric, Metric
from torch_rechub.basic.metric.function import as_number
from torch_rechub.data.unchanged import unchanged
from torch_rechub.engine.objective import Labelled

__all__ = ["try_metric"]

logger = logging.getLogger(__name__)

#: Four rows of both classes, one for each combination of a label and a predicted class, so that no usual metric is undefined.
LABELS, PREDICTIONS = (0.0, 1.0, 1.0, 0.0), (0.125, 0.875, 0.375, 0.625)


def try_metric(metric: Metric, rows: Labelled | None, n_row: int | None) -> None:
    """Compute a metric of made-up rows, so that one that cannot be computed is found before the first step.

    The call does not count: what the function holds (the variables of its closure, its attributes, the globals that it names) and all
    random states are restored. Whatever else it does (a picture, a file) is done once more. A function that needs more than four rows, or
    that reads an array with one entry a row, may fail without a mistake. Then it is called again, with as many rows as a validation has,
    and with their labels where those are known. If that fails too the error is raised; where the number of rows is not known a warning is
    logged.

    Args:
        metric: is not changed.
        rows: what is known of the validation rows, or None.
        n_row: the number of validation rows; None where it is not known.

    Raises:
        TypeError: when the value is not one number.
        ValueError: when the metric raised an error, which is the cause.
    """
    y = None if rows is None else rows.y
    try:
        _compute(metric, *_made_up(4), rows)
        return
    except _NotOneNumberError as error:
        raise TypeError(str(error)) from error.__cause__
    except Exception as error:
        first = error
    if n_row is None or n_row <= 0:
        logger.warning(
            "%s raised %s for four made-up rows: %s. If it does so for the rows of a validation, the first validation ends the run",
            _name(metric),
            type(first).__name__,
            first,
        )
        return
    try:
        made_up_y, prediction = _made_up(n_row)
        _compute(metric, y if y is not None and len(y) == n_row else made_up_y, prediction, rows)
    except _NotOneNumberError as error:
        raise TypeError(str(error)) from error.__cause__
    except Exception as error:
        raise ValueError(
            f"{_name(metric)} raised {type(error).__name__}: {error} It was called before the first step with made-up predictions for "
            f"{n_row} rows, in the shape that a validation gives: two arrays, (y_true, y_pred). Mend it, or leave it out."
        ) from error


class _NotOneNumberError(TypeError):
    """The metric gave something else than a number."""


def _compute(metric: Metric, y: Tensor, prediction: Tensor, rows: Labelled | None) -> None:
    """Its value for the rows; each column holds the value of the first known row, so that all rows are of one group."""
    n, columns = len(y), None
    if rows is not None and isinstance(rows.columns, Mapping):
        columns = {name: rows.columns[name][:1].expand(n) for name in metric.columns}
    function = metric.fn if isinstance(metric, FunctionMetric) else metric
    with unchanged(function):
        fresh = metric.empty()
        fresh.update(y, prediction, None if rows is None or rows.weight is None else torch.ones(n), columns)
        if isinstance(fresh, FunctionMetric):
            value: Any = fresh.call()
        else:
            value = fresh.compute()
    try:
        as_number(metric.name, value)
    except TypeError as error:
        raise _NotOneNumberError(str(error)) from error


def _made_up(n_row: int) -> tuple[Tensor, Tensor]:
    """Labels and predictions of ``n_row`` rows, both ``(n_row,)``."""
    places = torch.arange(n_row) % len(LABELS)
    return torch.tensor(LABELS)[places], torch.tensor(PREDICTIONS)[places]


def _name(metric: Metric) -> str:
    if isinstance(metric, FunctionMetric):
        return f"The function {getattr(metric.fn, '__name__', metric.name)!r}, which measures {metric.name!r},"
    return f"The metric {metric.name!r} ({type(metric).__name__})"
