"""Arrow arrays and Parquet files as tensors. Ids stay integers, and a value that a tensor would lose is an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from torch_rechub.arguments import named_arguments
from torch_rechub.data.frames import to_array
from torch_rechub.data.table import Table
from torch_rechub.optional_libraries import import_library
from torch_rechub.storage import expand
from torch_rechub.types import FilePath

__all__ = ["ParquetIterableDataset", "pa_array_to_tensor"]


@named_arguments
def pa_array_to_tensor(arr: Any) -> Tensor:
    """An Arrow array as a tensor: int64 for integers and booleans, float32 for floats, a matrix for lists of one length.

    Deviation: the existing package makes float32 of everything, which rounds ids above 2**24, and NaN of nulls.

    Args:
        arr: a ``pyarrow.Array`` or ``ChunkedArray`` of numbers, booleans, or lists of them.

    Raises:
        TypeError: when its values are no numbers.
        ValueError: naming the row, when a value is missing or out of range, or lists have different lengths.
        ImportError: when pyarrow is not installed.

    Example:
        >>> import pyarrow as pa
        >>> pa_array_to_tensor(pa.array([3, 16777217]))
        tensor([       3, 16777217])
    """
    _pyarrow()
    return _to_tensor(arr, "arr")


@named_arguments
class ParquetIterableDataset(IterableDataset[dict[str, Tensor]]):
    """Parquet files, read batch by batch as ``{column: tensor}``; the files are shared among the workers of a ``DataLoader``.

    For training, split the label off: ``({name: batch[name] for name in names}, batch["label"])``.

    Args:
        file_paths: the files, in order.
        columns: which columns are read; None reads all.
        batch_size: rows of a batch at most; a batch ends where a row group of a file ends.

    Raises:
        TypeError: when ``file_paths`` is a single path.
        ValueError: when ``batch_size`` is below 1; on iteration, naming the column and the row, when a value is missing or out of range,
            or a column does not exist.
        ImportError: when pyarrow is not installed.
    """

    def __init__(self, file_paths: Sequence[FilePath], /, columns: Sequence[str] | None = None, batch_size: int = 1024) -> None:
        if isinstance(file_paths, str) or not hasattr(file_paths, "__len__"):
            raise TypeError(f"file_paths must be a list of paths; got {file_paths!r}. Put it in brackets.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1; got {batch_size!r}.")
        _pyarrow()
        self._file_paths = [str(expand(path, "file_paths")) for path in file_paths]
        self._columns = None if columns is None else list(columns)
        self._batch_size = int(batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Read the files of this worker from their beginning."""
        paths = self._own_paths()
        if not paths:
            return
        data: Any = _pyarrow().dataset(paths, format="parquet")
        missing = [name for name in self._columns or () if name not in data.schema.names]
        if missing:
            raise ValueError(f"columns={missing} must be in the Parquet files; they have {data.schema.names}.")
        first = 0
        for batch in data.scanner(columns=self._columns, batch_size=self._batch_size).to_batches():
            if len(batch):
                rows = f"rows {first} to {first + len(batch) - 1} of {paths[0]}" + (" and the files after it" if len(paths) > 1 else "")
                yield {name: _to_tensor(array, f"{name} ({rows})") for name, array in zip(batch.column_names, batch.columns, strict=True)}
                first += len(batch)

    def _own_paths(self) -> list[str]:
        """The files that the present worker reads: consecutive ones, as many as the others do."""
        worker = get_worker_info()
        if worker is None:
            return self._file_paths
        share = -(-len(self._file_paths) // worker.num_workers)
        return self._file_paths[worker.id * share : (worker.id + 1) * share]

    def __repr__(self) -> str:
        return f"ParquetIterableDataset({len(self._file_paths)} files, batches of {self._batch_size:,})"


def _to_tensor(arr: Any, what: str) -> Tensor:
    kind = str(arr.type)
    lists = kind.startswith(("list", "large_list", "fixed_size_list"))
    if not len(arr):
        numbers = torch.float32 if any(word in kind for word in ("float", "double", "half")) else torch.int64
        return torch.empty((0, 0) if lists else 0, dtype=numbers)
    values = arr.combine_chunks() if hasattr(arr, "combine_chunks") else arr
    inner = values.flatten() if lists else values
    for part, unit in ((values, "row"), (inner, "value")):
        if part.null_count:
            first = part.is_null().to_pylist().index(True)
            raise ValueError(
                f"Column '{what}': must have no missing value; got null at {unit} {first}. Fill it, for example with fill_null(0)."
            )
    to_array(values, f"Column '{what}'")  # refuses lists of different lengths, which are no tensor
    return Table.from_columns({what: values}).x[what].contiguous()


def _pyarrow() -> Any:
    """The part of pyarrow that reads data sets."""
    return import_library("pyarrow.dataset", "Reading Arrow arrays and Parquet files")
