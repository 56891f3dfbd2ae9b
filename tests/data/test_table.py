"""Tables: rows keep their labels for every type of input, and invalid columns are a clear error."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_rechub.basic.batch.packed import PackedFeatures
from torch_rechub.data import Table

N = 7
USER = np.array([5, 3, 2**20, 0, 1, 9, 4])
PRICE = np.array([0.5, -1.0, 3.25, 0.0, 8.0, 1e3, 2.0])
CLICKED = np.array([True, False, True, True, False, False, True])
HISTORY = np.arange(N * 3).reshape(N, 3)
VECTOR = np.linspace(0, 1, N * 2).reshape(N, 2)
LABEL = np.array([0, 1, 1, 0, 1, 0, 1])

COLUMNS = {"user": USER, "price": PRICE, "clicked": CLICKED, "history": HISTORY, "vector": VECTOR}


def as_lists():
    return {name: column.tolist() for name, column in COLUMNS.items()}


KINDS = {
    "arrays": lambda: dict(COLUMNS),
    "lists": as_lists,
    "tensors": lambda: {name: torch.tensor(column) for name, column in COLUMNS.items()},
    "objects": lambda: {name: (pd.Series(column.tolist()) if column.ndim == 2 else column) for name, column in COLUMNS.items()},
    "pandas": lambda: pd.DataFrame(as_lists()),
    "pandas of arrays": lambda: pd.DataFrame({name: list(column) for name, column in COLUMNS.items()}),
    "pandas nullable": lambda: pd.DataFrame(as_lists()).astype({"user": "Int64", "price": "Float64", "clicked": "boolean"}),
    "pandas arrow": lambda: pd.DataFrame(as_lists()).astype({"user": "int64[pyarrow]", "price": "double[pyarrow]"}),
    "pandas shuffled": lambda: pd.DataFrame(as_lists(), index=[4, 2, 6, 0, 5, 1, 3]),
    "polars lists": lambda: pl.DataFrame(as_lists()),
    "polars arrays": lambda: pl.DataFrame(dict(COLUMNS)),
    "arrow": lambda: pa.table(as_lists()),
    "arrow in pieces": lambda: pa.concat_tables([pa.table(as_lists()).slice(0, 2), pa.table(as_lists()).slice(2)]),
    "arrow fixed": lambda: pa.table(
        {k: pa.FixedSizeListArray.from_arrays(v.ravel(), v.shape[1]) if v.ndim == 2 else pa.array(v) for k, v in COLUMNS.items()}
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_table_keeps_rows_and_labels_together(kind):
    """Row i of the table holds the i-th value of every column and the i-th label, for every type of x."""
    table = Table.from_columns(KINDS[kind](), LABEL)
    assert len(table) == N
    for i in range(N):
        x, y = table[i]
        assert y.item() == LABEL[i]
        assert x["user"].item() == USER[i]
        assert x["price"].item() == PRICE[i]
        assert x["clicked"].item() == CLICKED[i]
        assert x["history"].tolist() == HISTORY[i].tolist()
        assert x["vector"].tolist() == pytest.approx(VECTOR[i].tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_table_packs_by_dtype(kind):
    """Integers and booleans are packed as ids, floats as numbers, matrices as blocks; ids are int32 if they fit."""
    x = Table.from_columns(KINDS[kind]()).x
    assert (x.layout.ids, x.layout.numbers, x.layout.blocks) == (("user", "clicked"), ("price",), ("history", "vector"))
    assert (x.ids.dtype, x.numbers.dtype) == (torch.int32, torch.float32)
    assert [block.dtype for block in x.blocks] == [torch.int32, torch.float32]
    assert x.ids.is_contiguous()
    assert x.numbers.is_contiguous()


@pytest.mark.parametrize(
    "label", [LABEL, LABEL.tolist(), torch.tensor(LABEL), LABEL[:, None], pd.Series(LABEL), pl.Series(LABEL), pa.array(LABEL)]
)
def test_table_takes_labels_of_any_kind(label):
    """Labels become float32 of shape (N,), also from shape (N, 1)."""
    y = Table.from_columns(COLUMNS, label).y
    assert y.dtype == torch.float32
    assert y.tolist() == LABEL.tolist()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table, lambda columns: np.stack(list(columns.values()), axis=1)])
def test_table_takes_several_labels(frame):
    """Several label columns become (N, T) in their order, and a frame of one column becomes (N,)."""
    both = Table.from_columns(COLUMNS, frame({"click": LABEL, "buy": 1 - LABEL}), weight=PRICE.clip(0))
    assert both.y.tolist() == [[a, 1 - a] for a in LABEL]
    assert both.weight.tolist() == PRICE.clip(0).tolist()
    assert Table.from_columns(COLUMNS, frame({"click": LABEL})).y.shape == (N,)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_table_never_changes_an_id(ids):
    """Every 64-bit integer is stored exactly; int32 is used if and only if all ids fit."""
    x = Table.from_columns({"a": np.array(ids), "b": np.zeros(len(ids), np.int8)}).x
    assert x["a"].tolist() == ids
    assert x.ids.dtype == (torch.int32 if -(2**31) <= min(ids) and max(ids) < 2**31 else torch.int64)


def test_table_copies_its_arguments():
    """Arguments are not changed, read-only arrays are accepted, and later writes into them do not change the table."""
    given_x = {name: column.copy() for name, column in COLUMNS.items()}
    label = LABEL.astype(np.float32)
    for array in given_x.values():
        array.flags.writeable = False
    before = copy.deepcopy(given_x)
    table = Table.from_columns(given_x, label)
    for name, array in given_x.items():
        np.testing.assert_array_equal(array, before[name])
        array.flags.writeable = True
        array[:] = 0
    label[:] = 7
    assert table.x["user"].tolist() == USER.tolist()
    assert table.x["vector"].numpy() == pytest.approx(VECTOR)
    assert table.y.tolist() == LABEL.tolist()


def test_table_does_not_change_frames():
    """Writing into a table does not change the DataFrame that it was made from."""
    frame = pd.DataFrame(as_lists())
    before = frame.copy(deep=True)
    table = Table.from_columns(frame, frame["clicked"])
    table.x.ids.zero_()
    table.x.numbers.zero_()
    table.y.zero_()
    pd.testing.assert_frame_equal(frame, before)


def test_table_packed_equals_dict():
    """A batch by index tensor, slice or array has the same columns as a dict of arrays, and a table can be made from a batch."""
    table = Table.from_columns(COLUMNS, LABEL, weight=np.ones(N))
    rows = torch.tensor([6, 0, 3])
    for batch, index in (
        (table.batch(rows), rows.numpy()),
        (table.batch(slice(2, 5)), slice(2, 5)),
        (table.batch(rows.numpy()), rows.numpy()),
    ):
        x, y, weight = batch
        assert isinstance(x, PackedFeatures)
        assert list(x) == ["user", "clicked", "price", "history", "vector"]
        for name, column in COLUMNS.items():
            np.testing.assert_allclose(x[name].numpy(), column[index], rtol=1e-6)
        np.testing.assert_array_equal(y.numpy(), LABEL[index])
        assert weight.tolist() == [1.0] * len(y)
    assert Table.from_columns(x).x["user"].tolist() == x["user"].tolist()


def test_table_take_makes_a_table_of_these_rows():
    """take(rows) gives these rows in this order, with their labels and weights, and can be pickled."""
    table = pickle.loads(pickle.dumps(Table.from_columns(COLUMNS, LABEL, weight=PRICE.clip(0)).take(torch.tensor([2, 2, 0]))))
    assert table.x["history"].tolist() == HISTORY[[2, 2, 0]].tolist()
    assert table.y.tolist() == LABEL[[2, 2, 0]].tolist()
    assert table.weight.tolist() == PRICE[[2, 2, 0]].tolist()


def test_table_row_numbers_end_with_the_table():
    """Iteration over rows ends after the last one, row -1 is the last one, and larger numbers are an IndexError."""
    table = Table.from_columns({"user": USER})
    assert [int(row["user"]) for row in table] == USER.tolist()
    assert int(table[-1]["user"]) == USER[-1]
    with pytest.raises(IndexError):
        table[N]


def test_table_missing_integers_become_nan():
    """An integer column with a missing value becomes a float column with NaN, in every type of frame."""
    for frame in (pd.DataFrame({"a": pd.array([1, None], "Int64")}), pl.DataFrame({"a": [1, None]}), pa.table({"a": [1, None]})):
        x = Table.from_columns(frame).x
        assert x.layout.numbers == ("a",)
        assert x["a"].isnan().tolist() == [False, True]


DATES = np.array(["2026-01-01"], "datetime64[D]")
REFUSED = {
    "strings": ({"city": ["rome", "oslo"]}, TypeError, ["Column 'city'", "numbers", "rome", "Encode"]),
    "strings in pandas": (pd.DataFrame({"city": ["rome", "oslo"]}), TypeError, ["Column 'city'", "rome", "Encode"]),
    "categories in pandas": (pd.DataFrame({"city": pd.Categorical(["rome", "oslo"])}), TypeError, ["Column 'city'", "Encode"]),
    "strings in polars": (pl.DataFrame({"city": ["rome", "oslo"]}), TypeError, ["Column 'city'", "rome", "Encode"]),
    "strings in arrow": (pa.table({"city": ["rome", "oslo"]}), TypeError, ["Column 'city'", "rome", "Encode"]),
    "objects": ({"city": np.array([None, 1, "x"], dtype=object)}, TypeError, ["Column 'city'", "numbers", "got 'x' at row 2", "Encode"]),
    "dates": ({"day": DATES}, TypeError, ["Column 'day'", "datetime64", "Encode"]),
    "missing list": (pd.DataFrame({"h": [[1], None]}), ValueError, ["Column 'h'", "missing", "pad_sequences"]),
    "missing list in arrow": (pa.table({"h": [[1], None]}), ValueError, ["Column 'h'", "pad_sequences"]),
    "missing list in polars": (pl.DataFrame({"h": [[1], None]}), ValueError, ["Column 'h'", "pad_sequences"]),
    "three dimensions": ({"a": np.zeros((2, 2, 2))}, ValueError, ["Column 'a'", "(2, 2, 2)", "Reshape"]),
    "a scalar": ({"a": 3}, ValueError, ["Column 'a'", "shape"]),
    "huge ids": ({"a": np.array([2**63], np.uint64)}, ValueError, ["Column 'a'", "64", "Re-encode"]),
    "no columns": ({}, ValueError, ["at least one column"]),
    "no rows": ({"a": np.zeros(0)}, ValueError, ["at least one row", "'a'"]),
    "lengths": ({"a": [1, 2], "b": [1, 2, 3]}, ValueError, ["2 rows in 'a'", "3 in 'b'"]),
    "number names": (pd.DataFrame({0: [1]}), TypeError, ["Column names must be strings", "0", "Rename"]),
    "names twice": (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, ["got 'a' 2 times"]),
    "a matrix": (np.zeros((3, 2)), TypeError, ["dict of columns", "ndarray", "name"]),
    "lazy": (pl.LazyFrame({"a": [1]}), TypeError, ["LazyFrame", "collect"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_table_refuses_invalid_columns(case):
    """A column that cannot be packed is an error that names the column, the value and the remedy."""
    x, error, fragments = REFUSED[case]
    with pytest.raises(error) as caught:
        Table.from_columns(x)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("y", "weight", "fragments"),
    [
        ([1, 0], None, ["3 rows in x and 2 in y"]),
        ([0, 1, 0], [1.0], ["3 rows in x and 1 in weight"]),
        ([0, 1, 0], [1.0, -2.0, -3.0], ["finite and >= 0", "-2", "row 1"]),
        ([0, 1, 0], [1.0, 2.0, float("nan")], ["finite", "nan", "row 2"]),
        ([0, 1, 0], [0, 0, 0], ["not be 0 in every row"]),
        ([0, 1, 0], np.ones((3, 2)), ["one number per row", "(3, 2)"]),
    ],
)
def test_table_refuses_invalid_labels_and_weights(y, weight, fragments):
    """Labels and weights of another length, and invalid weights, are an error that names the value and the row."""
    with pytest.raises(ValueError, match=r".") as caught:
        Table.from_columns({"a": [1, 2, 3]}, y, weight)
    for fragment in fragments:
        assert fragment in str(caught.value)
    with pytest.raises(TypeError, match=r"y: values must be numbers; got .*'yes'"):
        Table.from_columns({"a": [1, 2]}, ["yes", "no"])


def test_table_pairs_shuffled_frames_by_position():
    """x and y from one shuffled frame are matched by position; the same index in another order is an error that names the remedy."""
    frame = pd.DataFrame({"a": range(10), "y": range(10)}).sample(frac=1, random_state=0)
    table = Table.from_columns(frame[["a"]], frame["y"])
    assert table.x["a"].tolist() == table.y.tolist() == frame["a"].tolist()
    assert Table.from_columns(frame[["a"]], frame["y"].to_numpy()).y.tolist() == frame["a"].tolist()
    for other in (frame["y"].sort_index(), frame[["y"]].sort_index()):
        with pytest.raises(ValueError, match=r"x and y must list their rows in one order.*y\.loc\[x\.index\].*y\.to_numpy\(\)"):
            Table.from_columns(frame[["a"]], other)
    with pytest.raises(ValueError, match=r"weight\.loc\[x\.index\]"):
        Table.from_columns(frame[["a"]], frame["y"], frame["y"].sort_index())
