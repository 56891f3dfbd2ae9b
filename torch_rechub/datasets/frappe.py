"""A reader of Frappe, a log of which phone app was used in which context, in the split that benchmarks publish.

Source: Baltrunas, Church, Karatzoglou and Oliver, *Frappe: Understanding the Usage and Perception of Mobile App Recommendations
In-The-Wild*, 2015 (arXiv 1505.03014). It is for research only: the package reads it and does not hold it.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.datasets.columns import Split, describe_columns
from torch_rechub.types import FilePath

__all__ = ["Frappe", "load_frappe"]

LABEL = "label"
COLUMNS = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
FILES = ("train.csv.gz", "valid.csv.gz", "test.csv.gz")


@dataclass(frozen=True, eq=False)
class Frappe:
    """The rows of Frappe in the published split, with ids counted from 0 in each column.

    Args:
        train: the published train rows.
        val: the published validation rows.
        test: the published test rows.
        vocabularies: column -> the id in the files that each of our ids stands for; id 0 stands for all that train does not hold (-1).
    """

    train: Split
    val: Split
    test: Split
    vocabularies: Mapping[str, np.ndarray]

    def feature_columns(self, embed_dim: int | None = 10) -> tuple[list[DenseFeature], list[SparseFeature]]:
        """The features a model is made from: ``(dense, sparse)``, the first of which is empty.

        Args:
            embed_dim: width of every embedding; None takes each column's automatic width.
        """
        return describe_columns((), {name: len(ids) for name, ids in self.vocabularies.items()}, embed_dim)


def load_frappe(folder: FilePath) -> Frappe:
    """Read the published split and give each column ids of its own.

    The files number all columns' values together, 0 .. 5381. Here a column's vocabulary is what its train rows hold, in rising order,
    from id 1 on; id 0 is what train never saw, as a model in service would meet it.

    Args:
        folder: where ``train.csv.gz``, ``valid.csv.gz`` and ``test.csv.gz`` lie.

    Raises:
        FileNotFoundError: when one of the three is missing.
        ValueError: when a file's columns or numbers are not Frappe's.
    """
    missing = [name for name in FILES if not (Path(folder) / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"load_frappe: {folder} must hold {', '.join(FILES)}, each with the columns {','.join((LABEL, *COLUMNS))}; "
            f"there is no {', '.join(missing)}. Frappe may not be redistributed: get it from those who publish the split."
        )
    tables = [_read(Path(folder) / name) for name in FILES]
    vocabularies = {name: np.concatenate([[-1], np.unique(tables[0][:, 1 + index])]) for index, name in enumerate(COLUMNS)}
    train, val, test = (_encode(table, vocabularies) for table in tables)
    return Frappe(train, val, test, vocabularies)


def _read(path: Path) -> np.ndarray:
    """The numbers of one file, ``(N, 11)``, label first."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        header = tuple(lines.readline().strip().split(","))
        if header != (LABEL, *COLUMNS):
            raise ValueError(f"load_frappe: {path} must begin with the columns {','.join((LABEL, *COLUMNS))}; got {','.join(header)}.")
        try:
            return np.loadtxt(lines, dtype=np.int32, delimiter=",", ndmin=2)
        except ValueError as error:
            raise ValueError(f"load_frappe: {path} must hold whole numbers only, 11 in a row: {error}") from error


def _encode(table: np.ndarray, vocabularies: Mapping[str, np.ndarray]) -> Split:
    x: dict[str, np.ndarray] = {}
    for index, (name, known) in enumerate(vocabularies.items()):
        values = table[:, 1 + index]
        ids = np.searchsorted(known, values).clip(max=len(known) - 1)
        x[name] = np.where(known[ids] == values, ids, 0).astype(np.int32)
    return Split(x, table[:, 0].astype(np.float32))
