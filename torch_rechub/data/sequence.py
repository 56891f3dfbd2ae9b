"""Click logs -> rows of (user, history, target, label): each click with what came before it, and an item that the user never clicked.

The last click of a user is the test, the one before it the validation, all earlier ones are training; a row's history holds
earlier clicks only, and no target of one part is a target of another.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

import numpy as np

from torch_rechub.data.frames import Array, library

__all__ = ["create_seq_features", "generate_seq_feature", "neg_sample"]

Frame: TypeAlias = Any  # a pandas DataFrame; pandas is the user's, not ours to import
Split: TypeAlias = tuple[Frame, Frame, Frame]


def neg_sample(click_hist: Collection[int], item_size: int) -> int:
    """A random item out of 1 .. ``item_size`` that is not in ``click_hist``, by Python's ``random``.

    Raises:
        ValueError: when every item is in it.

    Example:
        >>> neg_sample([1, 3], item_size=3)
        2
    """
    clicked = np.unique(np.fromiter(click_hist, np.int64, len(click_hist)))
    clicked = clicked[(clicked >= 1) & (clicked <= item_size)]
    if len(clicked) >= item_size:
        raise ValueError(f"There must be an item without a click; got {len(clicked)} clicked items of item_size={item_size}.")
    free = random.randrange(item_size - len(clicked))
    return int(free + 1 + np.searchsorted(clicked - 1 - np.arange(len(clicked)), free, side="right"))


def generate_seq_feature(
    data: Frame,
    user_col: str,
    item_col: str,
    time_col: str,
    item_attribute_cols: Sequence[str] = (),
    min_item: int = 0,
    shuffle: bool = True,
    max_len: int = 50,
    *,
    seed: int | None = None,
) -> Split:
    """Train, validation and test rows with histories and one negative a positive. Ids are re-encoded from 1; 0 is padding.

    Deviations from the existing package: ``data`` is not changed; a history longer than ``max_len`` keeps its latest clicks, and
    such users have their validation and test rows too; a user who clicked every item is an error, not an endless loop.

    Args:
        data: a pandas DataFrame, one click a row.
        user_col: column of the user.
        item_col: column of the item.
        time_col: column to sort by; ties keep the order of ``data``.
        item_attribute_cols: columns that belong to the item; each gives a history and a target column.
        min_item: users with fewer clicks are dropped (of those kept, the first click is history only).
        shuffle: shuffle the rows of each part.
        max_len: length of the history, padded behind with 0.
        seed: of negatives and shuffling; None draws one from Python's ``random``.

    Raises:
        TypeError: when ``data`` is no pandas DataFrame.
        ValueError: when a column is missing, or a user clicked every item.

    Example:
        >>> import pandas as pd
        >>> clicks = pd.DataFrame({"user": [7] * 4, "item": list("abca"), "time": [0, 1, 2, 3]})
        >>> more = pd.DataFrame({"user": [8], "item": ["d"], "time": [0]})
        >>> train, val, test = generate_seq_feature(pd.concat([clicks, more]), "user", "item", "time", max_len=3, shuffle=False)
        >>> test.iloc[0].to_dict()
        {'label': 1, 'target_item_id': 1, 'user': 1, 'hist_item_id': [1, 2, 3]}
    """
    columns = _encode(data, [user_col, item_col, time_col, *item_attribute_cols])
    generator = np.random.default_rng(random.getrandbits(63) if seed is None else seed)
    order = np.lexsort((columns[time_col], columns[user_col]))  # by user, then time; stable
    columns = {name: column[order] for name, column in columns.items()}
    user, item = columns[user_col], columns[item_col]
    first = np.searchsorted(user, user)  # where the user's clicks begin
    n_click = np.searchsorted(user, user, side="right") - first
    past = np.arange(len(user)) - first  # clicks before this one
    clicks = np.flatnonzero((past > 0) & (n_click >= min_item))
    negative = _unclicked(user, item, clicks, generator)
    both = np.repeat(clicks, 2)  # each click, then its negative

    target = item[both]
    target[1::2] = negative
    table: dict[str, Any] = {"label": np.tile([1, 0], len(clicks)), "target_item_id": target, user_col: user[both]}
    table["hist_item_id"] = _histories(item, clicks, past, max_len)
    for name in item_attribute_cols:
        attribute_of = np.zeros(item.max(initial=0) + 1, np.int32)
        attribute_of[item] = columns[name]
        table["hist_" + name] = _histories(columns[name], clicks, past, max_len)
        table["target_" + name] = attribute_of[target]
    return _parts(table, (n_click - past)[both], generator if shuffle else None)


def create_seq_features(
    data: Frame,
    seq_feature_col: Sequence[str] = ("item_id", "cate_id"),
    max_len: int = 50,
    drop_short: int = 3,
    shuffle: bool = True,
    *,
    seed: int | None = None,
) -> Split:
    """:func:`generate_seq_feature` for logs with the columns user_id, item_id, cate_id and time, under this function's old column names.

    Deviation from the existing package: its test rows were training rows too; here they are not.

    Args:
        data: a pandas DataFrame, one click a row.
        seq_feature_col: the columns of the item and of its category.
        max_len: length of the histories, padded behind with 0; longer ones keep their latest clicks.
        drop_short: users with fewer clicks are dropped.
        shuffle: shuffle the rows of each part.
        seed: of negatives and shuffling; None draws one from Python's ``random``.
    """
    item, category = seq_feature_col
    parts = generate_seq_feature(data, "user_id", item, "time", [category], drop_short, shuffle, max_len, seed=seed)
    names = {"user_id": "user_id", "hist_item_id": "history_item", "hist_" + category: "history_cate"}
    names |= {"target_item_id": "target_item", "target_" + category: "target_cate", "label": "label"}
    train, val, test = (part[list(names)].rename(columns=names) for part in parts)
    return train, val, test


def _encode(data: Frame, names: Sequence[str]) -> dict[str, Array]:
    """Each column as ids 1, 2, ... in the order of its sorted values."""
    if library(data) != "pandas":
        raise TypeError(f"data must be a pandas DataFrame; got {type(data).__name__}. Call .to_pandas() first.")
    import pandas

    for name in names:
        if name not in data.columns:
            raise ValueError(f"data must have the column '{name}'; it has {', '.join(map(str, data.columns))}.")
    return {name: pandas.factorize(data[name], sort=True, use_na_sentinel=False)[0].astype(np.int32) + 1 for name in names}


def _unclicked(user: Array, item: Array, clicks: Array, generator: np.random.Generator) -> Array:
    """For each of ``clicks`` one item of 1 .. max that its user never clicked, each with the same chance.

    The j-th clicked item of a user (j from 0, sorted) has ``item - 1 - j`` unclicked items below it, so the k-th unclicked item is
    k + 1 + the number of clicked items with at most k unclicked ones below: one sorted search for all users at once.
    """
    n_item = int(item.max(initial=0))
    pairs = np.unique(user.astype(np.int64) * (n_item + 1) + item)
    owner, clicked = pairs // (n_item + 1), pairs % (n_item + 1)
    first = np.searchsorted(owner, owner)
    below = owner * (n_item + 1) + clicked - 1 - (np.arange(len(pairs)) - first)
    mine = user[clicks].astype(np.int64)
    begin = np.searchsorted(owner, mine)
    n_free = n_item - (np.searchsorted(owner, mine, side="right") - begin)
    if (n_free == 0).any():
        raise ValueError(f"Every user must leave an item without a click; one clicked all {n_item}. Drop such users, or bring more items.")
    free = generator.integers(0, n_free) if len(clicks) else np.zeros(0, np.int64)
    return free + 1 + np.searchsorted(below, mine * (n_item + 1) + free, side="right") - begin


def _histories(values: Array, clicks: Array, past: Array, max_len: int) -> list[list[int]]:
    """The values before each click, oldest first, padded behind with 0; each twice, for the click and for its negative."""
    length = np.minimum(past[clicks], max_len)
    step = np.arange(max_len)
    place = np.minimum((clicks - length)[:, None] + step, len(values) - 1)  # (clicks, max_len)
    return np.repeat(np.where(step < length[:, None], values[place], 0), 2, axis=0).tolist()


def _parts(table: dict[str, Any], from_end: Array, generator: np.random.Generator | None) -> Split:
    """Train, validation and test by the number of clicks from the user's end: more, two, one."""
    import pandas

    frame = pandas.DataFrame(table)
    rows = [np.flatnonzero(from_end > 2), np.flatnonzero(from_end == 2), np.flatnonzero(from_end == 1)]
    if generator is not None:
        rows = [generator.permutation(part) for part in rows]
    train, val, test = (frame.iloc[part].reset_index(drop=True) for part in rows)
    return train, val, test
