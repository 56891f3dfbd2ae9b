"""MovieLens-100K as rows of (user, target, history, label), in the order of time."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.data import Table

Array = npt.NDArray[np.int64]


class Columns(NamedTuple):
    """All features of the models."""

    user: list[SparseFeature]
    target: list[SparseFeature]
    history: list[SequenceFeature]


def _rows(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt") as file:
        next(file)  # the names of the columns
        return [line.rstrip("\n").split("\t") for line in file]


def _ids(values: list[str]) -> tuple[Array, int]:
    """Ids from 1, and the size of the vocabulary; 0 is padding."""
    names, ids = np.unique(values, return_inverse=True)
    return ids.astype(np.int64) + 1, len(names) + 1


def _histories(user: Array, time: Array, liked: npt.NDArray[np.bool_], item: Array, length: int) -> Array:
    """For each row the latest items that its user liked at an earlier time, oldest first, padded at the end.

    Rows are sorted by time. Items of the same second do not count: users rate several in one second, in no known order.
    """
    histories = np.zeros((len(user), length), np.int64)
    for each in np.unique(user):
        rows = np.flatnonzero(user == each)
        earlier = rows[liked[rows]]
        n_before = np.searchsorted(time[earlier], time[rows], side="left")
        for row, n in zip(rows, n_before, strict=True):
            latest = item[earlier[max(n - length, 0) : n]]
            histories[row, : len(latest)] = latest
    return histories


def read_movielens(folder: Path, length: int = 50, embed_dim: int = 16) -> tuple[Columns, list[Table]]:
    """The columns, and the tables of the first 80 % of the ratings, the next 10 % and the last 10 % by time. A label is rating >= 4."""
    ratings = np.array(_rows(folder / "ml-100k.inter.gz"), dtype=object)
    order = np.argsort(ratings[:, 3].astype(np.float64), kind="stable")
    ratings, time = ratings[order], ratings[order, 3].astype(np.float64)
    liked = ratings[:, 2].astype(np.float64) >= 4
    movies, people = ({row[0]: row for row in _rows(folder / f"ml-100k.{kind}.gz")} for kind in ("item", "user"))
    item, n_item = _ids([row[1] for row in ratings])
    genre, n_genre = _ids([movies[row[1]][3].split(" ")[0] for row in ratings])
    genre_of = np.zeros(n_item, np.int64)
    genre_of[item] = genre
    x = {"item": item, "genre": genre}
    sizes = {"item": n_item, "genre": n_genre}
    for place, name in enumerate(("user", "age", "gender", "occupation")):
        values = [people[row[0]][place] for row in ratings]
        x[name], sizes[name] = _ids([str(int(value) // 10) for value in values] if name == "age" else values)
    x["items"] = _histories(x["user"], time.astype(np.int64), liked, item, length)
    x["genres"] = genre_of[x["items"]]
    ends = [0, int(len(time) * 0.8), int(len(time) * 0.9), len(time)]
    tables = [
        Table.from_columns({name: column[start:end] for name, column in x.items()}, liked[start:end].astype(np.float32))
        for start, end in pairwise(ends)
    ]
    features = {name: SparseFeature(name, size, embed_dim, padding_idx=0) for name, size in sizes.items()}
    pairs = (("items", "item"), ("genres", "genre"))
    history = [SequenceFeature(name, sizes[owner], embed_dim, "concat", shared_with=owner, padding_idx=0) for name, owner in pairs]
    user = [features[name] for name in ("user", "age", "gender", "occupation")]
    return Columns(user, [features["item"], features["genre"]], history), tables
