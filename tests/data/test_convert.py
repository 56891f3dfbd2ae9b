"""Conversions against simple loops, and sequence splits without later clicks in the training rows."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_rechub.data import (
    array_replace_with_dict,
    create_seq_features,
    df_to_dict,
    generate_seq_feature,
    get_loss_func,
    get_metric_func,
    neg_sample,
    pad_sequences,
)
from torch_rechub.utils import data as old_paths


@given(
    st.lists(st.lists(st.integers(-99, 99), max_size=6), max_size=6),
    st.one_of(st.none(), st.integers(0, 5)),
    st.sampled_from(["pre", "post"]),
    st.sampled_from(["pre", "post"]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_pad_sequences_agrees_with_a_loop(sequences, maxlen, padding, truncating, as_arrays):
    """Each row is its list, truncated and padded at the given sides, for lists and for arrays."""
    width = max((len(s) for s in sequences), default=0) if maxlen is None else maxlen
    rows = []
    for s in sequences:
        values = s[max(len(s) - width, 0) :] if truncating == "pre" else s[:width]
        fill = [-7] * (width - len(values))
        rows.append(fill + values if padding == "pre" else values + fill)
    given_sequences = [np.array(s, np.int64) for s in sequences] if as_arrays else sequences
    matrix = pad_sequences(given_sequences, maxlen, "int64", padding, truncating, value=-7)
    assert matrix.shape == (len(sequences), width)
    assert matrix.tolist() == rows


def test_pad_sequences_takes_matrices_floats_and_series():
    """A matrix, a Series of lists and float values are accepted; by default rows are padded at the start with int32 zeros."""
    assert pad_sequences(np.arange(6).reshape(2, 3), maxlen=2).tolist() == [[1, 2], [4, 5]]
    assert pad_sequences(pd.Series([[1], [2, 3]], index=[5, 3])).tolist() == [[0, 1], [2, 3]]
    assert pad_sequences([[0.5], [1.5, 2.5]], dtype="float32", padding="post").tolist() == [[0.5, 0.0], [1.5, 2.5]]
    assert pad_sequences([[1]]).dtype == np.int32
    with pytest.raises(ValueError, match="padding must be 'pre' or 'post'; got 'left'"):
        pad_sequences([[1]], padding="left")
    with pytest.raises(ValueError, match="maxlen must be >= 0; got -1"):
        pad_sequences([[1]], maxlen=-1)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_df_to_dict_copies_columns(frame):
    """Every column, also of strings or lists, becomes an array, and writing into it does not change the frame."""
    data = frame({"a": [1, 2], "name": ["x", "y"], "h": [[1, 2], [3, 4]]})
    arrays = df_to_dict(data)
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [1, 2], "name": ["x", "y"], "h": [[1, 2], [3, 4]]}
    arrays["a"][0] = 99
    assert df_to_dict(data)["a"].tolist() == [1, 2]


def test_array_replace_maps_every_value_or_names_the_missing_one():
    """Arrays of any shape are mapped; a value without an entry is an error that names it."""
    assert array_replace_with_dict(np.array([[3, 1], [1, 2]]), {1: 10, 2: 20, 3: 30}).tolist() == [[30, 10], [10, 20]]
    assert array_replace_with_dict(["b", "a"], {"a": 0, "b": 1}).tolist() == [1, 0]
    for missing in (0, 2, 9):
        with pytest.raises(ValueError, match=f"no entry for .*{missing}"):
            array_replace_with_dict([1, missing], {1: 10, 3: 30})
    with pytest.raises(ValueError, match="empty"):
        array_replace_with_dict([1], {})


@given(st.sets(st.integers(0, 9)), st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_neg_sample_draws_each_unclicked_item_and_no_other(clicked, item_size):
    """All items of 1 .. item_size without a click are drawn, and no others; without such items it is an error."""
    unclicked = set(range(1, item_size + 1)) - clicked
    if unclicked:
        assert {neg_sample(list(clicked), item_size) for _ in range(60 * item_size)} == unclicked
    else:
        with pytest.raises(ValueError, match="an item without a click"):
            neg_sample(list(clicked), item_size)


@st.composite
def logs(draw):
    n_user, n_item = draw(st.integers(1, 4)), draw(st.integers(3, 6))
    rows = draw(st.lists(st.tuples(st.integers(1, n_user), st.integers(1, n_item - 1), st.integers(0, 5)), min_size=1, max_size=25))
    rows = [*rows, (n_user + 1, n_item, 0)]  # an item of one user only, so that all other users have a negative
    return pd.DataFrame(rows, columns=["user", "item", "time"]).assign(cate=lambda frame: frame["item"] % 2 + 5)


def codes(column):
    return {value: i + 1 for i, value in enumerate(sorted(set(column)))}


@given(logs(), st.integers(1, 5), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_sequence_rows_agree_with_a_loop_over_users(log, max_len, min_item):
    """Each click but the first gives one positive row with the clicks before it. The last one is test, the one before it validation."""
    item_code, cate_code, user_code = codes(log["item"]), codes(log["cate"]), codes(log["user"])
    expected = {"train": [], "val": [], "test": []}
    for user, clicks in log.sort_values("time", kind="stable").groupby("user"):
        items = [item_code[i] for i in clicks["item"]]
        cates = [cate_code[c] for c in clicks["cate"]]
        if len(items) < min_item:
            continue
        for i in range(1, len(items)):
            split = {len(items) - 1: "test", len(items) - 2: "val"}.get(i, "train")
            fill = [0] * max(max_len - i, 0)
            before = slice(max(i - max_len, 0), i)
            expected[split].append((user_code[user], items[i], items[before] + fill, cates[before] + fill, cates[i]))
    frames = generate_seq_feature(log, "user", "item", "time", ["cate"], min_item, shuffle=False, max_len=max_len, seed=0)
    for frame, name in zip(frames, expected, strict=True):
        assert list(frame) == ["label", "target_item_id", "user", "hist_item_id", "hist_cate", "target_cate"]
        positive = frame[frame["label"] == 1][["user", "target_item_id", "hist_item_id", "hist_cate", "target_cate"]]
        assert list(positive.itertuples(index=False, name=None)) == expected[name]


@given(logs(), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_sequence_negatives_are_items_the_user_never_clicked(log, seed):
    """Each positive row is followed by a negative row of the same user and history, with an item that the user never clicked."""
    item_code, user_code = codes(log["item"]), codes(log["user"])
    clicked = {user_code[u]: {item_code[i] for i in clicks["item"]} for u, clicks in log.groupby("user")}
    attribute = {item_code[i]: codes(log["cate"])[c] for i, c in zip(log["item"], log["cate"], strict=True)}
    for frame in generate_seq_feature(log, "user", "item", "time", ["cate"], shuffle=False, max_len=3, seed=seed):
        positive, negative = frame.iloc[::2].reset_index(drop=True), frame.iloc[1::2].reset_index(drop=True)
        assert positive["label"].eq(1).all()
        assert negative["label"].eq(0).all()
        same = ["user", "hist_item_id", "hist_cate"]
        pd.testing.assert_frame_equal(positive[same], negative[same])
        for _, row in negative.iterrows():
            assert row["target_item_id"] in set(item_code.values()) - clicked[row["user"]]
            assert row["target_cate"] == attribute[row["target_item_id"]]


def test_sequence_negatives_reach_every_unclicked_item():
    """Every item that a user never clicked is drawn as a negative, given enough rows."""
    log = pd.DataFrame({"user": [1] * 300 + [2] * 6, "item": [2, 4] * 150 + [1, 3, 5, 6, 7, 2], "time": range(306)})
    train, _, _ = generate_seq_feature(log, "user", "item", "time", seed=0)
    negative = train[(train["label"] == 0) & (train["user"] == 1)]["target_item_id"]
    assert set(negative) == {1, 3, 5, 6, 7}


def test_sequences_are_shuffled_by_seed_and_change_no_argument():
    """Equal seeds give equal frames; without a seed random.seed determines them; shuffling keeps all rows; the log is not changed."""
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user": rng.integers(0, 5, 80), "item": rng.integers(0, 50, 80), "time": rng.permutation(80)})
    before = log.copy(deep=True)
    ordered = generate_seq_feature(log, "user", "item", "time", shuffle=False, seed=1)[0]
    shuffled = [generate_seq_feature(log, "user", "item", "time", seed=1)[0] for _ in range(2)]
    pd.testing.assert_frame_equal(log, before)
    pd.testing.assert_frame_equal(*shuffled)
    assert shuffled[0]["hist_item_id"].tolist() != ordered["hist_item_id"].tolist()
    assert sorted(shuffled[0].astype(str).agg("".join, axis=1)) == sorted(ordered.astype(str).agg("".join, axis=1))
    unseeded = []
    for seed in (3, 3, 4):
        random.seed(seed)
        unseeded.append(generate_seq_feature(log, "user", "item", "time")[0]["target_item_id"].tolist())
    assert unseeded[0] == unseeded[1] != unseeded[2]


def test_create_seq_features_keeps_test_rows_out_of_training():
    """No (user, target) of test or validation is a training row, users with few clicks are dropped, and the column names are fixed."""
    log = pd.DataFrame(
        {"user_id": np.repeat([1, 2, 3], [6, 5, 2]), "item_id": np.arange(13) + 100, "cate_id": np.arange(13) % 3, "time": range(13)}
    )
    train, val, test = create_seq_features(log, max_len=4, seed=0)
    names = ["user_id", "history_item", "history_cate", "target_item", "target_cate", "label"]
    assert [list(frame) for frame in (train, val, test)] == [names] * 3
    positives = [set(map(tuple, frame[frame["label"] == 1][["user_id", "target_item"]].to_numpy())) for frame in (train, val, test)]
    assert [len(pairs) for pairs in positives] == [5, 2, 2]
    assert len(set.union(*positives)) == 9
    assert all(user != 3 for user, _ in set.union(*positives))


def test_sequences_refuse_invalid_logs():
    """Other frames than pandas, a missing column and a user who clicked every item are errors that name the remedy."""
    log = pd.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "time": [0, 1, 2]})
    with pytest.raises(TypeError, match=r"pandas DataFrame; got DataFrame.*to_pandas"):
        generate_seq_feature(pl.DataFrame({"user": [1]}), "user", "item", "time")
    with pytest.raises(ValueError, match="column 'when'; it has user, item, time"):
        generate_seq_feature(log, "user", "item", "when")
    with pytest.raises(ValueError, match="one clicked all 3"):
        generate_seq_feature(log, "user", "item", "time")


def test_default_loss_and_metric_by_task():
    """Classification has cross entropy and AUC, regression has the mean squared error, and other task types are an error."""
    assert isinstance(get_loss_func(), torch.nn.BCELoss)
    assert isinstance(get_loss_func("regression"), torch.nn.MSELoss)
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 60), rng.integers(0, 9, 60) / 8
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y == 1] for b in p[y == 0]]
    assert get_metric_func()(y, p) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert np.isnan(get_metric_func()([1, 1], [0.1, 0.2]))
    assert get_metric_func("regression")([1, 2], [1, 4]) == 2.0
    for function in (get_loss_func, get_metric_func):
        with pytest.raises(ValueError, match=r"task_type must be .*; got 'ranking'"):
            function("ranking")


def test_old_import_paths_give_the_same_things():
    """torch_rechub.utils.data exports all names in its __all__."""
    assert all(callable(getattr(old_paths, name)) for name in old_paths.__all__)
    assert old_paths.pad_sequences is pad_sequences
