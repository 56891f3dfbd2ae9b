"""Conversion of click logs into rows (user, history, target, label). Each click gives a positive row and a negative row.

The target of a negative row is an item that the user never clicked. The last click of a user is the target of a test row, the one before
it of a validation row, all earlier ones of training rows. The history of a row holds only clicks before its target.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.data.frames import Array, library

__all__ = ["create_seq_features", "generate_seq_feature", "neg_sample"]

Frame: TypeAlias = Any  # a pandas DataFrame; pandas is imported only when it is used
TrainValTest: TypeAlias = tuple[Frame, Frame, Frame]


@named_arguments
def neg_sample(click_hist: Collection[int], item_size: int) -> int:
    """A random item of 1 .. ``item_size`` that is not in ``click_hist``, drawn by Python's ``random``.

    Raises:
        ValueError: when ``click_hist`` holds every item.

    Example:
        >>> neg_sample([1, 3], item_size=3)
        2
    """
    clicked = np.unique(np.fromiter(click_hist, np.int64, len(click_hist)))
    clicked = clicked[(clicked >= 1) & (clicked <= item_size)]
    if len(clicked) >= item_size:
        raise ValueError(f"There must be an item without a click; got {len(clicked)} clicked items of item_size={item_size}.")
    index = random.randrange(item_size - len(clicked))  # among the items without a click, from 0
    return int(index + 1 + np.searchsorted(clicked - 1 - np.arange(len(clicked)), index, side="right"))


@named_arguments
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
) -> TrainValTest:
    """Train, validation and test rows with histories, and one negative row per positive row. Ids are re-encoded from 1; 0 is padding.

    Deviations from the existing package: ``data`` is not changed; a history longer than ``max_len`` keeps its latest clicks, and
    its user has validation and test rows, too; a user who clicked every item is an error, not an endless loop.

    Args:
        data: a pandas DataFrame with one click per row.
        user_col: the column of the user.
        item_col: the column of the item.
        time_col: the column to sort by; equal times keep the order of ``data``.
        item_attribute_cols: columns with attributes of the item; each gives a history column and a target column.
        min_item: users with fewer clicks are dropped. The first click of a user is never a target.
        shuffle: whether to shuffle the rows of each of the three results.
        max_len: length of the history, padded with 0 at its end.
        seed: seed of the negatives and of the shuffling; None draws one from Python's ``random``.

    Raises:
        TypeError: when ``data`` is not a pandas DataFrame.
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
    first = np.searchsorted(user, user)  # the first click of the same user
    n_click = np.searchsorted(user, user, side="right") - first
    n_before = np.arange(len(user)) - first  # clicks of the user before this one
    clicks = np.flatnonzero((n_before > 0) & (n_click >= min_item))  # the clicks that are targets
    negative = _draw_negatives(user, item, clicks, generator)
    rows = np.repeat(clicks, 2)  # each positive row is followed by its negative row

    target = item[rows]
    target[1::2] = negative
    table: dict[str, Any] = {"label": np.tile([1, 0], len(clicks)), "target_item_id": target, user_col: user[rows]}
    table["hist_item_id"] = _histories(item, clicks, n_before, max_len)
    for name in item_attribute_cols:
        attribute_of = np.zeros(item.max(initial=0) + 1, np.int32)
        attribute_of[item] = columns[name]
        table["hist_" + name] = _histories(columns[name], clicks, n_before, max_len)
        table["target_" + name] = attribute_of[target]
    return _train_val_test(table, (n_click - n_before)[rows], generator if shuffle else None)


@named_arguments
def create_seq_features(
    data: Frame,
    seq_feature_col: Sequence[str] = ("item_id", "cate_id"),
    max_len: int = 50,
    drop_short: int = 3,
    shuffle: bool = True,
    *,
    seed: int | None = None,
) -> TrainValTest:
    """:func:`generate_seq_feature` for logs with the columns user_id, item_id, cate_id and time; the results have other column names.

    Deviation from the existing package: there the test rows are training rows, too; here they are not.

    Args:
        data: a pandas DataFrame with one click per row.
        seq_feature_col: the columns of the item and of its category.
        max_len: length of the histories, padded with 0 at their end; longer ones keep their latest clicks.
        drop_short: users with fewer clicks are dropped.
        shuffle: whether to shuffle the rows of each of the three results.
        seed: seed of the negatives and of the shuffling; None draws one from Python's ``random``.
    """
    item, category = seq_feature_col
    frames = generate_seq_feature(data, "user_id", item, "time", [category], drop_short, shuffle, max_len, seed=seed)
    names = {"user_id": "user_id", "hist_item_id": "history_item", "hist_" + category: "history_cate"}
    names |= {"target_item_id": "target_item", "target_" + category: "target_cate", "label": "label"}
    train, val, test = (frame[list(names)].rename(columns=names) for frame in frames)
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


def _draw_negatives(user: Array, item: Array, clicks: Array, generator: np.random.Generator) -> Array:
    """For each of ``clicks`` one item of 1 .. n_item that its user never clicked; all such items have the same probability.

    The j-th clicked item of a user (j from 0, in ascending order) has ``item - 1 - j`` smaller unclicked items. So the k-th unclicked item
    is k + 1 + the number of clicked items with at most k smaller unclicked items. One sorted search computes it for all users.
    """
    n_item = int(item.max(initial=0))
    pairs = np.unique(user.astype(np.int64) * (n_item + 1) + item)
    pair_user, pair_item = pairs // (n_item + 1), pairs % (n_item + 1)
    first = np.searchsorted(pair_user, pair_user)
    n_smaller = pair_user * (n_item + 1) + pair_item - 1 - (np.arange(len(pairs)) - first)  # offset by the user, to be sorted
    click_user = user[clicks].astype(np.int64)
    first_pair = np.searchsorted(pair_user, click_user)
    n_unclicked = n_item - (np.searchsorted(pair_user, click_user, side="right") - first_pair)
    if (n_unclicked == 0).any():
        raise ValueError(f"Every user must have an item without a click; one clicked all {n_item}. Drop such users, or add items.")
    index = generator.integers(0, n_unclicked) if len(clicks) else np.zeros(0, np.int64)  # k
    return index + 1 + np.searchsorted(n_smaller, click_user * (n_item + 1) + index, side="right") - first_pair


def _histories(values: Array, clicks: Array, n_before: Array, max_len: int) -> list[list[int]]:
    """The values before each click, oldest first, padded with 0 at the end. Each is repeated, for the positive and the negative row."""
    length = np.minimum(n_before[clicks], max_len)
    position = np.arange(max_len)
    index = np.minimum((clicks - length)[:, None] + position, len(values) - 1)  # (clicks, max_len)
    return np.repeat(np.where(position < length[:, None], values[index], 0), 2, axis=0).tolist()


def _train_val_test(table: dict[str, Any], n_remaining: Array, generator: np.random.Generator | None) -> TrainValTest:
    """Train, validation and test rows, by the number of clicks of the user from the target on: more than two, two, one."""
    import pandas

    frame = pandas.DataFrame(table)
    rows = [np.flatnonzero(n_remaining > 2), np.flatnonzero(n_remaining == 2), np.flatnonzero(n_remaining == 1)]
    if generator is not None:
        rows = [generator.permutation(indices) for indices in rows]
    train, val, test = (frame.iloc[indices].reset_index(drop=True) for indices in rows)
    return train, val, test
