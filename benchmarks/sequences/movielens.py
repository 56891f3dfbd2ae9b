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


def _histories(user: Array, time: Array, item: Array, length: int) -> Array:
    """For each row the latest items that its user rated at an earlier time, oldest first, padded at the end.

    Rows are sorted by time. Items of the same second do not count: users rate several in one second, in no known order.
    """
    histories = np.zeros((len(user), length), np.int64)
    for each in np.unique(user):
        rows = np.flatnonzero(user == each)
        n_before = np.searchsorted(time[rows], time[rows], side="left")
        for row, n in zip(rows, n_before, strict=True):
            latest = item[rows[max(n - length, 0) : n]]
            histories[row, : len(latest)] = latest
    return histories


def _negatives(user: Array, item: Array, n_item: int, generator: np.random.Generator) -> Array:
    """For each row an item that its user has not rated up to then; what the user rates later may be drawn, so nothing of it is known."""
    negatives = np.zeros_like(item)
    rated: dict[int, set[int]] = {}
    for row, (each, positive) in enumerate(zip(user.tolist(), item.tolist(), strict=True)):
        known = rated.setdefault(each, set())
        known.add(positive)
        while not negatives[row] or negatives[row] in known:
            negatives[row] = generator.integers(1, n_item)
    return negatives


def read_movielens(folder: Path, length: int = 50, embed_dim: int = 16) -> tuple[Columns, list[Table]]:
    """The columns, and the tables of the first 80 % of the ratings, the next 10 % and the last 10 % by time.

    Each rating gives a row of label 1, and one of label 0 with an item that the user has not rated up to then.
    """
    ratings = np.array(_rows(folder / "ml-100k.inter.gz"), dtype=object)
    ratings = ratings[np.argsort(ratings[:, 3].astype(np.float64), kind="stable")]
    movies, people = ({row[0]: row for row in _rows(folder / f"ml-100k.{kind}.gz")} for kind in ("item", "user"))
    item, n_item = _ids([row[1] for row in ratings])
    genre, n_genre = _ids([movies[row[1]][3].split(" ")[0] for row in ratings])
    genre_of = np.zeros(n_item, np.int64)
    genre_of[item] = genre
    x: dict[str, Array] = {}
    sizes = {"item": n_item, "genre": n_genre}
    for place, name in enumerate(("user", "age", "gender", "occupation")):
        values = [people[row[0]][place] for row in ratings]
        x[name], sizes[name] = _ids([str(int(value) // 10) for value in values] if name == "age" else values)
    x["items"] = _histories(x["user"], ratings[:, 3].astype(np.float64).astype(np.int64), item, length)
    negatives = _negatives(x["user"], item, n_item, np.random.default_rng(0))
    x = {name: np.repeat(column, 2, axis=0) for name, column in x.items()}
    x["item"] = np.stack([item, negatives], axis=1).ravel()
    x["genre"], x["genres"] = genre_of[x["item"]], genre_of[x["items"]]
    labels = np.tile(np.float32([1, 0]), len(ratings))
    ends = [2 * int(len(ratings) * share) for share in (0, 0.8, 0.9, 1)]
    tables = [Table.from_columns({name: column[a:b] for name, column in x.items()}, labels[a:b]) for a, b in pairwise(ends)]
    features = {name: SparseFeature(name, size, embed_dim, padding_idx=0) for name, size in sizes.items()}
    pairs = (("items", "item"), ("genres", "genre"))
    history = [SequenceFeature(name, sizes[owner], embed_dim, "concat", shared_with=owner, padding_idx=0) for name, owner in pairs]
    user = [features[name] for name in ("age", "gender", "occupation")]
    return Columns(user, [features["item"], features["genre"]], history), tables
