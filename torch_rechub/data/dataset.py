"""Map-style datasets of single rows, for a torch DataLoader. :class:`TableLoader` is faster."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from torch_rechub.arguments import named_arguments
from torch_rechub.data.arrow import ParquetIterableDataset
from torch_rechub.data.frames import Array, columns_in_words, to_array, to_arrays

__all__ = ["ParquetIterableDataset", "PredictDataset", "TorchDataset"]


@named_arguments
class PredictDataset(Dataset[Any]):
    """A dataset of rows ``{name: value}``. Columns are copied only if they are read-only.

    Args:
        x: a dict of arrays, tensors or lists, a pandas or polars DataFrame, or an Arrow table.

    Raises:
        ValueError: when there is no column, or the lengths differ.

    Example:
        >>> int(PredictDataset({"item": [3, 4]})[1]["item"])
        4
    """

    def __init__(self, x: object) -> None:
        self.x = {name: _writable(column) for name, column in to_arrays(x).items()}
        if not self.x:
            raise ValueError("x must have at least one column; got none.")
        lengths = {name: len(column) for name, column in self.x.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Columns must have one length; got {lengths}.")
        self.length = next(iter(lengths.values()))

    def __getitem__(self, index: Any) -> Any:
        return {name: column[index] for name, column in self.x.items()}

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.length:,} rows of {columns_in_words(self.x)})"


@named_arguments
class TorchDataset(PredictDataset):
    """A dataset of rows ``({name: value}, label)``. Columns are copied only if they are read-only.

    Rows are numbered by position, also in a DataFrame with a shuffled index.

    Args:
        x: as in :class:`PredictDataset`.
        y: one label, or one row of labels, for each row of ``x``.

    Raises:
        ValueError: when there is no column, or the lengths differ.

    Example:
        >>> x, y = TorchDataset({"item": [3, 4]}, y=[0, 1])[1]
        >>> int(x["item"]), int(y)
        (4, 1)
    """

    def __init__(self, x: object, y: object) -> None:
        super().__init__(x)
        self.y = _writable(to_array(y, "y"))
        if len(self.y) != self.length:
            raise ValueError(f"x and y must have one length; got {self.length} rows in x and {len(self.y)} in y.")

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index), self.y[index]


def _writable(array: Array) -> Array:
    """``array``, copied if it is read-only, because torch warns when it collates read-only arrays."""
    return array if array.flags.writeable else array.copy()
