"""MovieLens-100K as a table of clicks: six columns of one id and one list column, as benchmarks use the larger MovieLens."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.data import pad_sequences

__all__ = ["Rows", "read_movielens"]

Columns = dict[str, np.ndarray]
Rows = tuple[Columns, np.ndarray]


def _table(path: Path) -> dict[str, list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t") for line in file]
    names = [name.split(":")[0] for name in lines[0]]
    return {name: [row[i] for row in lines[1:]] for i, name in enumerate(names)}


def _ids(values: list[str]) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def read_movielens(folder: Path) -> tuple[list[Rows], list[SparseFeature | SequenceFeature]]:
    """Training, validation and test rows (8 : 1 : 1, drawn at random), and the features, of embedding 16.

    A rating above 3 is positive, one below 3 negative, and those of 3 are left out. The first three digits of the zip code are a column.
    """
    ratings, users, items = (_table(folder / f"ml-100k.{kind}.gz") for kind in ("inter", "user", "item"))
    rating = np.array(ratings["rating"], float)
    kept = rating != 3
    user_row = {user: i for i, user in enumerate(users["user_id"])}
    item_row = {item: i for i, item in enumerate(items["item_id"])}
    of_user = np.array([user_row[user] for user in ratings["user_id"]])[kept]
    of_item = np.array([item_row[item] for item in ratings["item_id"]])[kept]
    genres = {name: i + 1 for i, name in enumerate(sorted({genre for cell in items["class"] for genre in cell.split()}))}
    lists = pad_sequences([[genres[genre] for genre in cell.split()] for cell in items["class"]])
    by_user = {
        "gender": _ids(users["gender"]),
        "age": _ids(users["age"]),
        "occupation": _ids(users["occupation"]),
        "zip": _ids([code[:3] for code in users["zip_code"]]),
    }
    x = {"user": of_user, "item": of_item, **{name: ids[of_user] for name, ids in by_user.items()}, "genres": lists[of_item]}
    y = (rating[kept] > 3).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(y))
    cuts = np.split(order, [len(y) * 8 // 10, len(y) * 9 // 10])
    features: list[SparseFeature | SequenceFeature] = [SparseFeature(name, int(x[name].max()) + 1, 16) for name in list(x)[:6]]
    features.append(SequenceFeature("genres", len(genres) + 1, 16, pooling="mean", padding_idx=0))
    return [({name: column[rows] for name, column in x.items()}, y[rows]) for rows in cuts], features
