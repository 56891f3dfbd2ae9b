"""A data set packed into a few matrices, so that making a batch takes one ``index_select`` per matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch.packed import Layout, PackedFeatures
from torch_rechub.data.frames import Array, columns_in_words, is_frame, library, to_array, to_arrays
from torch_rechub.data.numbers import as_numbers
from torch_rechub.data.padding import pad_sequences

__all__ = ["RowIndex", "Table"]

RowIndex: TypeAlias = Tensor | Array | slice | list[int]
TableBatch: TypeAlias = PackedFeatures | tuple[PackedFeatures, Tensor] | tuple[PackedFeatures, Tensor, Tensor]

_INT32_MAX = 2**31 - 1
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FLOAT32_WHOLE = 2**24  # float32 holds every whole number up to here


@named_arguments
class Table(Dataset[Any]):
    """Rows of features, with optional labels and row weights. :meth:`from_columns` makes a table; it copies the columns.

    Args:
        x: the features of all rows.
        y: labels, float32 ``(N,)``, ``(N, T)`` for T tasks, or None.
        weight: row weights, float32 ``(N,)``, or None.
        row_numbers: the numbers that the rows have in the user's table, for errors; None counts them from 0.
        lengths: name of a column of lists of different lengths -> the length of each row, ``(N,)``. In ``x`` all rows are padded with 0 at
            their end; a batch is as wide as its own longest row.

    Example:
        >>> table = Table.from_columns({"item": [3, 4, 5], "price": [0.5, 1.0, 1.5]}, y=[1, 0, 1])
        >>> len(table), table.batch(torch.tensor([2, 0]))[1]
        (3, tensor([1., 1.]))
    """

    def __init__(
        self,
        x: PackedFeatures,
        y: Tensor | None = None,
        weight: Tensor | None = None,
        row_numbers: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.x, self.y, self.weight, self.row_numbers = x, y, weight, row_numbers
        self.lengths = dict(lengths or {})

    @classmethod
    def from_columns(cls, x: object, y: object = None, weight: object = None) -> Table:
        """Copy columns into packed matrices.

        Integers and booleans are packed as ids, floats as numbers; each column of lists or of vectors becomes its own block. Lists of
        different lengths are padded with 0 at their end, and each batch is as wide as its own longest list. Numbers and
        labels are rounded to float32. Whole numbers keep every value: a float64 column of whole numbers beyond 2**24 becomes integers, or
        stays float64 where values are missing.

        Args:
            x: a dict of arrays, tensors or lists, a pandas or polars DataFrame, or an Arrow table.
            y: labels by position, one column or several; ``(N, 1)`` is treated as ``(N,)``.
            weight: one number >= 0 per row, its weight in the loss and in the metrics.

        Raises:
            TypeError: when ``x`` is not a table, or a column does not hold numbers.
            ValueError: when there is no column or no row, the lengths differ, pandas objects have their rows in different orders,
                or a weight is negative or not finite.
        """
        lengths: dict[str, Tensor] = {}

        def pad(name: str, values: Any) -> Array:
            lengths[name] = torch.tensor([len(value) for value in values], dtype=torch.int32)
            return pad_sequences(values, padding="post")

        columns = {name: _check_numeric(array, f"Column '{name}'") for name, array in to_arrays(x, pad).items()}
        n_row = _common_length(columns)
        for name, other in (("y", y), ("weight", weight)):
            _check_same_order(x, other, name)
        labels = None if y is None else _matrix(y, "y", n_row)
        weights = None if weight is None else _weights(weight, n_row)
        return cls(_pack(columns, n_row), labels, weights, lengths=lengths)

    def __len__(self) -> int:
        return self.x.n_row

    def __getitem__(self, row: int) -> Any:
        """One row: ``({name: value}, y)``, ``({name: value}, y, weight)`` with row weights, or ``{name: value}`` without labels."""
        row = range(len(self))[row]
        batch = Table(self.x, self.y, self.weight).batch(slice(row, row + 1))  # of one width, so that rows can be collated
        x, *targets = batch if isinstance(batch, tuple) else (batch,)
        values = {name: column[0] for name, column in x.items()}
        return (values, *(target[0] for target in targets)) if targets else values

    def __getitems__(self, rows: RowIndex) -> Any:
        """A batch that shares no memory with the table, so that a worker process can send it without the table.

        A list of row numbers, as a torch ``DataLoader`` of the user's gives, returns a list of rows, which that loader collates.
        """
        if isinstance(rows, list):
            return [self[row] for row in rows]
        return self.batch(torch.arange(len(self))[rows] if isinstance(rows, slice) else rows)

    def batch(self, rows: RowIndex) -> TableBatch:
        """``(x, y)`` of the given rows, ``(x, y, weight)`` with row weights, ``x`` without labels.

        Args:
            rows: row numbers, or a slice. A slice gives views of the table, which must not be written into.
        """
        rows = _as_index(rows)
        x = self._as_wide_as(rows).take(rows)
        if self.y is None:
            return x
        y = self.y[rows] if isinstance(rows, slice) else self.y.index_select(0, rows)
        if self.weight is None:
            return x, y
        return x, y, self.weight[rows] if isinstance(rows, slice) else self.weight.index_select(0, rows)

    def _as_wide_as(self, rows: Tensor | slice) -> PackedFeatures:
        """The features, whose columns of lists end where the longest list of ``rows`` ends; one place where all are empty."""
        if not self.lengths:
            return self.x
        blocks = list(self.x.blocks)
        for name, lengths in self.lengths.items():
            _, j = self.x.layout.places[name]
            width = max(1, int(lengths[rows].max())) if len(lengths[rows]) else 1
            blocks[j] = blocks[j][:, :width]
        return PackedFeatures(self.x.layout, self.x.ids, self.x.numbers, tuple(blocks))

    def take(self, rows: RowIndex) -> Table:
        """A table of the given rows, in the given order."""
        rows = _as_index(rows)
        small = torch.int32 if len(self) <= _INT32_MAX else torch.int64
        numbers = torch.arange(len(self), dtype=small) if self.row_numbers is None else self.row_numbers
        y, weight = (None if part is None else part[rows] for part in (self.y, self.weight))
        return Table(self.x.take(rows), y, weight, numbers[rows], {name: lengths[rows] for name, lengths in self.lengths.items()})

    def __repr__(self) -> str:
        kinds = [kind for kind, tensor in (("labels", self.y), ("weights", self.weight)) if tensor is not None]
        return f"Table({len(self):,} rows of {columns_in_words(self.x)}{''.join(f', with {kind}' for kind in kinds)})"


def _as_index(rows: RowIndex) -> Tensor | slice:
    """Row numbers as a tensor; a slice as it is."""
    if isinstance(rows, list):
        return torch.tensor(rows, dtype=torch.int64)
    return torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows


def _pack(columns: Mapping[str, Array], n_row: int) -> PackedFeatures:
    """The columns in row-major matrices; each column is copied once."""
    columns = {name: _whole_numbers(array) for name, array in columns.items()}
    flat = {name: array for name, array in columns.items() if array.ndim == 1 and not _has_gaps(array)}
    ids = {name: array for name, array in flat.items() if array.dtype.kind != "f"}
    numbers = {name: array for name, array in flat.items() if array.dtype.kind == "f"}
    blocks = {name: array for name, array in columns.items() if name not in flat}
    layout = Layout(tuple(ids), tuple(numbers), tuple(blocks))
    packed = tuple(torch.from_numpy(_converted(name, array, _smallest_dtype([array]))) for name, array in blocks.items())
    return PackedFeatures(layout, _stack_columns(ids, n_row), _stack_columns(numbers, n_row, np.dtype(np.float32)), packed)


def _whole_numbers(array: Array) -> Array:
    """A float column of whole numbers beyond the range that float32 holds exactly, as int64: ids keep every value."""
    if array.dtype.kind != "f" or array.dtype.itemsize < 8 or not array.size:
        return array
    if not _FLOAT32_WHOLE < _largest(array) < 2.0**63 or (array != np.floor(array)).any():
        return array
    return array.astype(np.int64)


def _has_gaps(array: Array) -> bool:
    """Whether a column has missing values beside whole numbers that float32 does not hold: it stays float64, apart from the others."""
    if array.dtype.kind != "f" or array.dtype.itemsize < 8 or not np.isnan(array).any():
        return False
    present = array[~np.isnan(array)]
    return _FLOAT32_WHOLE < _largest(present) < 2.0**63 and bool((present == np.floor(present)).all())


def _largest(array: Array) -> float:
    """The largest absolute value, without a copy; NaN where there is one."""
    return float(max(array.max(), -array.min())) if array.size else 0.0


def _stack_columns(columns: Mapping[str, Array], n_row: int, dtype: Any = None) -> Tensor:
    matrix = np.empty((n_row, len(columns)), dtype or _smallest_dtype(list(columns.values())))
    for j, (name, array) in enumerate(columns.items()):
        matrix[:, j] = array if matrix.dtype.kind != "f" else _converted(name, array, matrix.dtype)
    return torch.from_numpy(matrix)


def _converted(name: str, array: Array, dtype: Any) -> Array:
    """A copy in another dtype; a float64 outside the range of float32 is refused instead of becoming infinite.

    Raises:
        ValueError: naming the column, the row and the value.
    """
    with np.errstate(over="ignore"):
        converted = array.astype(dtype, copy=True, order="C")
    if array.dtype.kind == "f" and array.dtype.itemsize > 4 and not _largest(array) <= _FLOAT32_MAX:
        lost = np.isinf(converted) & np.isfinite(array)
        if lost.any():
            first = int(np.flatnonzero(lost)[0])
            row = first // (array.shape[1] if array.ndim == 2 else 1)
            value = f"{array.ravel()[first]:g} at row {row}"
            raise ValueError(f"Column '{name}': numbers are stored as float32, which ends at 3.4e38; got {value}. Scale the column.")
    return converted


def _smallest_dtype(arrays: list[Array]) -> Any:
    """The smallest of float32, int32 and int64 that holds all values; float64 where whole numbers have missing ones beside them."""
    if any(array.dtype.kind == "f" for array in arrays):
        return np.float64 if any(map(_has_gaps, arrays)) else np.float32
    wide = [array for array in arrays if array.size and array.dtype.itemsize >= 4 and array.dtype != np.int32]
    fits = all(array.max() <= _INT32_MAX and array.min() >= -_INT32_MAX - 1 for array in wide)
    return np.int32 if fits else np.int64


def _check_numeric(array: Array, what: str) -> Array:
    if array.dtype == object and array.size:
        array = as_numbers(array, what)
    if array.dtype.kind not in "biuf":
        first = f" (first value {array.flat[0]!r} at row 0)" if array.size else ""
        remedy = "Encode them as ids 0, 1, 2, ... first, for example with numpy.unique(values, return_inverse=True)[1]."
        if array.dtype.kind in "mM":
            gone = np.flatnonzero(np.isnat(array))
            first = f" with a missing value (NaT) at row {gone[0]}" if len(gone) else first
            remedy = "Encode them as numbers first, for example the day of the week, or values.astype('int64')."
        elif array.dtype.names:
            remedy = "Give each of its fields as a column."
        raise TypeError(f"{what}: values must be numbers; got {array.dtype}{first}. {remedy}")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise ValueError(f"{what}: shape must be (rows,) or (rows, length); got {array.shape}. Reshape it.")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        row = int(array.argmax()) // (array.shape[1] if array.ndim == 2 else 1)
        raise ValueError(f"{what}: ids must fit in 64 signed bits; got {array.max()} at row {row}. Re-encode them from 0.")
    return array


def _common_length(columns: Mapping[str, Array]) -> int:
    if not columns:
        raise ValueError("x must have at least one column; got none.")
    first, n_row = next((name, len(array)) for name, array in columns.items())
    for name, array in columns.items():
        if len(array) != n_row:
            raise ValueError(
                f"Columns must have one length; got {n_row} rows in '{first}' and {len(array)} in '{name}'. Give one value per row."
            )
    if n_row == 0:
        raise ValueError(f"x must have at least one row; got 0 rows in '{first}'. Check the filter or split that made it.")
    return n_row


def _matrix(values: object, what: str, n_row: int) -> Tensor:
    """Labels or weights as float32, ``(N,)`` or ``(N, T)``."""
    if is_frame(values):
        array = np.stack([_check_numeric(column, f"{what} '{name}'") for name, column in to_arrays(values).items()], axis=1)
    else:
        array = _check_numeric(to_array(values, what), what)
    if len(array) != n_row:
        raise ValueError(f"x and {what} must have one length; got {n_row} rows in x and {len(array)} in {what}.")
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    return torch.from_numpy(_converted(what, array, np.float32))


def _weights(values: object, n_row: int) -> Tensor:
    weight = _matrix(values, "weight", n_row)
    if weight.dim() != 1:
        raise ValueError(f"weight must be one number per row; got shape {tuple(weight.shape)}.")
    invalid = ~(weight.isfinite() & (weight >= 0))
    if invalid.any():
        row = int(invalid.nonzero()[0])
        raise ValueError(f"weight must be finite and >= 0; got {float(weight[row]):g} at row {row}. Give 0 to a row that should not count.")
    if not weight.any():
        raise ValueError("weight must not be 0 in every row, since no row would count. Leave it out to weight all rows equally.")
    return weight


def _check_same_order(x: Any, other: Any, what: str) -> None:
    """Refuse two pandas objects with the same index in different orders. Rows are matched by position, so this would be a hidden error."""
    if other is None or library(x) != "pandas" or library(other) != "pandas" or not hasattr(other, "index"):
        return
    if len(x) == len(other) and not x.index.equals(other.index) and x.index.isin(other.index).all():
        raise ValueError(
            f"x and {what} must list their rows in one order; got the same index in different orders. "
            f"Pass {what}.loc[x.index] to align them, or {what}.to_numpy() to match rows by position."
        )
