"""A reader of Frappe, a log of phone app usage with its context, in the split of published benchmarks.

Source: Baltrunas, Church, Karatzoglou and Oliver, *Frappe: Understanding the Usage and Perception of Mobile App Recommendations
In-The-Wild*, 2015 (arXiv 1505.03014). The data set is for research only and is not part of this package.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.datasets.columns import Split, describe_columns
from torch_rechub.storage import expand
from torch_rechub.types import FilePath

__all__ = ["Frappe", "load_frappe"]

LABEL = "label"
COLUMNS = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
FILES = ("train.csv.gz", "valid.csv.gz", "test.csv.gz")


@named_arguments
@dataclass(frozen=True, eq=False)
class Frappe:
    """The rows of Frappe in the published split, with ids from 0 in each column.

    Args:
        train: the published train rows.
        val: the published validation rows.
        test: the published test rows.
        vocabularies: column -> the id in the files for each of our ids. Our id 0 is for all ids that are not in train, and holds -1.
    """

    train: Split
    val: Split
    test: Split
    vocabularies: Mapping[str, np.ndarray]

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("train", "val", "test"))
        return f"Frappe({splits}, {len(self.vocabularies)} sparse columns)"

    def feature_columns(self, embed_dim: int | None = 10) -> tuple[list[DenseFeature], list[SparseFeature]]:
        """The features of a model: ``(dense, sparse)``. There are no dense features.

        Args:
            embed_dim: the embedding dimension; None uses the automatic dimension of each column.
        """
        return describe_columns((), {name: len(ids) for name, ids in self.vocabularies.items()}, embed_dim)


@named_arguments
def load_frappe(folder: FilePath) -> Frappe:
    """Read the published split and re-encode each column with ids from 0.

    In the files, one numbering 0 .. 5381 covers the values of all columns. Here the values of a column in the train rows have the ids
    1, 2, ... in ascending order, and id 0 is for all values that are not in the train rows.

    Args:
        folder: the folder of ``train.csv.gz``, ``valid.csv.gz`` and ``test.csv.gz``.

    Raises:
        FileNotFoundError: when one of the three files is missing.
        ValueError: when a file has other columns, or values that are not integers.
    """
    folder = expand(folder, "folder")
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"load_frappe: {folder} must hold {', '.join(FILES)}, each with the columns {','.join((LABEL, *COLUMNS))}; "
            f"there is no {', '.join(missing)}. Frappe may not be redistributed: download it from the publisher of the split."
        )
    tables = [_read(folder / name) for name in FILES]
    vocabularies = {name: np.concatenate([[-1], np.unique(tables[0][:, 1 + index])]) for index, name in enumerate(COLUMNS)}
    train, val, test = (_encode(table, vocabularies) for table in tables)
    return Frappe(train, val, test, vocabularies)


def _read(path: Path) -> np.ndarray:
    """The values of one file, ``(N, 11)``; the label is the first column."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        header = tuple(lines.readline().strip().split(","))
        if header != (LABEL, *COLUMNS):
            raise ValueError(f"load_frappe: {path} must begin with the columns {','.join((LABEL, *COLUMNS))}; got {','.join(header)}.")
        try:
            return np.loadtxt(lines, dtype=np.int32, delimiter=",", ndmin=2)
        except ValueError as error:
            raise ValueError(f"load_frappe: {path} must hold 11 whole numbers per row: {error}") from error


def _encode(table: np.ndarray, vocabularies: Mapping[str, np.ndarray]) -> Split:
    x: dict[str, np.ndarray] = {}
    for index, (name, vocabulary) in enumerate(vocabularies.items()):
        values = table[:, 1 + index]
        ids = np.searchsorted(vocabulary, values).clip(max=len(vocabulary) - 1)
        x[name] = np.where(vocabulary[ids] == values, ids, 0).astype(np.int32)
    return Split(x, table[:, 0].astype(np.float32))
