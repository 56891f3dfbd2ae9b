"""DataGenerator, MatchDataGenerator and the datasets of single rows: splits, invalid arguments, and agreement with a plain DataLoader."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from torch_rechub.data import DataGenerator, MatchDataGenerator, PredictDataset, Table, TableLoader, TorchDataset


def rows_of(loader):
    return [pair for x, y in loader for pair in zip(x["a"].tolist(), y.tolist(), strict=True)]


def make(n_row, **kwargs):
    return DataGenerator({"a": np.arange(n_row), "b": np.arange(n_row) / 2}, np.arange(n_row) + 100, **kwargs)


@given(st.integers(4, 60), st.floats(0.25, 0.7), st.floats(0.25, 0.3))
@settings(max_examples=40, deadline=None)
def test_generator_split_is_a_partition(n_row, train_share, val_share):
    """The shares of train and validation are rounded down, test gets the rest, and every row is in exactly one set, with its label."""
    loaders = make(n_row).generate_dataloader(split_ratio=(train_share, val_share), seed=1)
    sizes = [len(loader.table) for loader in loaders]
    n_train, n_val = int(n_row * train_share), int(n_row * val_share)
    assert sizes == [n_train, n_val, n_row - n_train - n_val]
    rows = [row for loader in loaders if len(loader) for row in rows_of(loader)]
    assert sorted(rows) == [(i, i + 100) for i in range(n_row)]


def test_generator_split_is_a_function_of_the_seed():
    """Equal seeds give equal splits, other seeds other splits; without a seed torch.manual_seed determines the split."""

    def split(seed):
        return [rows_of(loader) for loader in make(50).generate_dataloader(split_ratio=(0.7, 0.1), seed=seed)]

    assert split(3) == split(3) != split(4)
    torch.manual_seed(0)
    first = split(None)
    torch.manual_seed(0)
    assert split(None) == first


def test_generator_shuffles_training_only():
    """Train rows have a new order in each epoch; validation and test rows have the stored order, with their labels and weights."""
    x, y = {"a": np.arange(30)}, np.arange(30) + 100
    train, val, test = DataGenerator(x, y, weight=np.ones(30)).generate_dataloader(
        x_val=pd.DataFrame(x), y_val=y, x_test=x, batch_size=4, seed=2, weight_val=np.arange(30)
    )
    orders = [[i for batch in train for i in batch[0]["a"].tolist()] for _ in range(2)]
    assert orders[0] != orders[1] != list(range(30))
    assert [len(train), train.batch_size, val.batch_size, train.seed] == [8, 4, 4, 2]
    for _ in range(2):
        assert [pair for x, y, w in val for pair in zip(x["a"].tolist(), y.tolist(), w.tolist(), strict=True)] == [
            (i, i + 100, i) for i in range(30)
        ]
        assert [i for x in test for i in x["a"].tolist()] == list(range(30))


def test_generator_sets_not_given_are_none():
    """A set that was not given is None; an empty test set is a loader of length 0, which raises an error when it is iterated."""
    _, val, test = make(10).generate_dataloader()
    assert (val, test) == (None, None)
    _, val, test = make(10).generate_dataloader(split_ratio=(0.8, 0.2))
    assert len(val.table) == 2
    assert len(test) == len(test.table) == 0
    with pytest.raises(ValueError, match=r"no rows.*split_ratio"):
        list(test)
    train, val, _ = make(10).generate_dataloader(split_ratio=(0.9, 0.0))
    assert len(train.table) == 9
    assert val is None


WRONG = {
    "empty validation": ({"split_ratio": (0.9, 0.05)}, ["(0.9, 0.05)", "9 training and 0 validation of 10 rows", "Use a larger share"]),
    "empty training": ({"split_ratio": (0.01, 0.5)}, ["rows for training", "10 rows", "Use a larger share"]),
    "too much": ({"split_ratio": (0.9, 0.2)}, ["at most 1", "(0.9, 0.2)"]),
    "negative": ({"split_ratio": (0.9, -0.1)}, ["split_ratio", "-0.1"]),
    "one share": ({"split_ratio": (0.9,)}, ["split_ratio", "(0.9,)"]),
    "both": ({"split_ratio": (0.7, 0.1), "x_val": {"a": [1], "b": [0.5]}}, ["either split_ratio or", "both"]),
    "no labels": ({"x_val": {"a": [1], "b": [0.5]}}, ["x_val without y_val"]),
    "no rows": ({"y_test": [1]}, ["y_test", "without x_test"]),
    "missing column": ({"x_val": {"a": [1], "bb": [0.5]}, "y_val": [1]}, ["x_val", "'b' is missing", "Did you mean 'bb'?"]),
    "unlike column": ({"x_val": {"a": [1], "zz": [0.5]}, "y_val": [1]}, ["x_val", "'b' is missing", "a, zz"]),
    "other kind": ({"x_test": {"a": [[1, 2]], "b": [0.5]}, "y_test": [1]}, ["Column 'a'", "integers in x", "lists in x_test"]),
    "other length": ({"x_test": {"a": [1], "b": [0.5]}, "y_test": [1, 0]}, ["1 rows in x and 2 in y"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_generator_refuses_invalid_sets(case):
    """An impossible split, or columns that differ from the training columns, is an error that names the numbers and the remedy."""
    arguments, fragments = WRONG[case]
    with pytest.raises(ValueError, match=r".") as caught:
        make(10).generate_dataloader(**arguments)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_generator_needs_labels():
    """DataGenerator without labels is an error that names the loader for prediction."""
    with pytest.raises(ValueError, match=r"y=None.*TableLoader"):
        DataGenerator({"a": [1]}, None)


def test_generator_keeps_shuffled_frames_together():
    """The columns and labels of a shuffled DataFrame stay together through split and loaders, for pandas and polars."""
    frame = pd.DataFrame({"a": np.arange(40), "y": np.arange(40) + 100}).sample(frac=1, random_state=1)
    for x, y in ((frame[["a"]], frame["y"]), (pl.DataFrame({"a": frame["a"].to_list()}), pl.Series(frame["y"].to_list()))):
        for loader in DataGenerator(x, y).generate_dataloader(split_ratio=(0.5, 0.25)):
            assert all(label == a + 100 for a, label in rows_of(loader))


def test_match_generator_yields_pairs_users_and_items():
    """Train is shuffled and has labels, if given; users and items are features only, in stored order."""
    x = {"user": np.arange(20), "item": np.arange(20) * 2}
    users, items = {"user": np.arange(5)}, {"item": np.arange(9)}
    train, user, item = MatchDataGenerator(x, np.arange(20)).generate_dataloader(users, items, batch_size=4, num_workers=0, seed=1)
    assert sorted(y for x, y in train for y in y.tolist()) == list(range(20))
    assert [i for x in user for i in x["user"].tolist()] == list(range(5))
    assert [i for x in item for i in x["item"].tolist()] == list(range(9))
    pairwise, _, _ = MatchDataGenerator(x).generate_dataloader(users, items, 4, 0)
    order = [(u, i) for x in pairwise for u, i in zip(x["user"].tolist(), x["item"].tolist(), strict=True)]
    assert sorted(order) == [(u, 2 * u) for u in range(20)] != order


@pytest.mark.parametrize("frame", [dict, pd.DataFrame, pl.DataFrame])
def test_torch_dataset_agrees_with_our_loader(frame):
    """A torch DataLoader over TorchDataset gives the same batches as TableLoader in stored order."""
    columns = {"a": np.arange(10), "b": np.arange(10) / 4, "h": np.arange(20).reshape(10, 2).tolist()}
    label = np.arange(10) % 2
    plain = DataLoader(TorchDataset(frame(columns), label), batch_size=4)
    table_loader = TableLoader(Table.from_columns(frame(columns), label), batch_size=4)
    for (x, y), (table_x, table_y) in zip(plain, table_loader, strict=True):
        assert y.tolist() == table_y.tolist()
        assert {name: x[name].tolist() for name in columns} == {name: table_x[name].tolist() for name in columns}


def test_torch_dataset_uses_positions_and_does_not_copy():
    """Row i of a shuffled frame is its i-th row; arrays are shared; different lengths are an error."""
    frame = pd.DataFrame({"a": [7, 8, 9]}, index=[2, 0, 1])
    x, y = TorchDataset(frame, pd.Series([70, 80, 90], index=[2, 0, 1]))[0]
    assert (x["a"], y) == (7, 70)
    array = np.arange(3)
    dataset = PredictDataset({"a": array})
    array[1] = 50
    assert (len(dataset), dataset[1]["a"]) == (3, 50)
    with pytest.raises(ValueError, match="3 rows in x and 2 in y"):
        TorchDataset({"a": array}, [0, 1])
    with pytest.raises(ValueError, match="one length"):
        PredictDataset({"a": array, "b": [1]})
    with pytest.raises(ValueError, match="at least one column"):
        PredictDataset({})
