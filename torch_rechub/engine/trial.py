"""One call of a metric before the first step, on rows that are made up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.batch import PackedFeatures
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
    if rows is None and not isinstance(metric, FunctionMetric):
        return  # its columns are not known
    first = _error_of(metric, 4, None, rows)
    if first is None:
        return
    whole = rows if rows is not None and rows.y is not None and len(rows.y) == n_row else None
    if not n_row or (whole is None and not isinstance(metric, FunctionMetric)):
        remedy = "If it does so for the rows of a validation, the first validation ends the run"
        logger.warning("%s raised %s for four made-up rows: %s. %s", _name(metric), type(first).__name__, first, remedy)
        return
    error = _error_of(metric, n_row, whole, rows)
    if error is not None:
        raise ValueError(
            f"{_name(metric)} raised {type(error).__name__}: {error} It was called before the first step with made-up predictions for "
            f"{n_row} rows, in the shape that a validation gives: two arrays, (y_true, y_pred). Mend it, or leave it out."
        ) from error


def _error_of(metric: Metric, n_row: int, whole: Labelled | None, rows: Labelled | None) -> Exception | None:
    """The error that the metric raises for ``n_row`` made-up predictions, or None.

    Args:
        metric: is not changed.
        n_row: number of rows.
        whole: all rows of the validation, where they are known; otherwise labels are made up.
        rows: known rows, the first of which gives the columns of rows that are made up.

    Raises:
        TypeError: when the value is not one number.
    """
    y, prediction = _made_up(n_row)
    if whole is not None and whole.y is not None:
        y, weight, columns = whole.y, whole.weight, whole.columns
    else:
        weight = None if rows is None or rows.weight is None else torch.ones(n_row)
        columns = None if rows is None else _repeated(rows.columns, n_row)
    try:
        with unchanged(metric.fn if isinstance(metric, FunctionMetric) else metric):
            fresh = metric.empty()
            fresh.update(y, prediction, weight, columns)
            value: Any = fresh.call() if isinstance(fresh, FunctionMetric) else fresh.compute()
    except Exception as error:
        return error
    as_number(metric.name, value)
    return None


def _repeated(columns: Any, n_row: int) -> Any:
    """The first row of each column ``n_row`` times, so that all rows are of one group."""
    if isinstance(columns, PackedFeatures):
        columns = columns.take(slice(0, 1))
    if isinstance(columns, Mapping):
        return {name: _repeated(column, n_row) for name, column in columns.items()}
    if isinstance(columns, Tensor):
        return columns[:1].expand(n_row, *columns.shape[1:])
    return [*columns[:1]] * n_row if isinstance(columns, list | tuple) else columns


def _made_up(n_row: int) -> tuple[Tensor, Tensor]:
    """Labels and predictions of ``n_row`` rows, both ``(n_row,)``."""
    places = torch.arange(n_row) % len(LABELS)
    return torch.tensor(LABELS)[places], torch.tensor(PREDICTIONS)[places]


def _name(metric: Metric) -> str:
    if isinstance(metric, FunctionMetric):
        return f"The function {getattr(metric.fn, '__name__', metric.name)!r}, which measures {metric.name!r},"
    return f"The metric {metric.name!r} ({type(metric).__name__})"
