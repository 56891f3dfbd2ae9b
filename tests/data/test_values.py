"""No conversion changes a number without a word, and what is missing, masked, infinite or out of range is named as what it is."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.basic.metric import GAUC, gauc_score
from torch_rechub.basic.metric.pairs import group_areas
from torch_rechub.data import DataGenerator, Table, TorchDataset, check_table, pad_sequences
from torch_rechub.trainers import CTRTrainer

TEN_DIGITS = np.array([9_000_000_000 + i for i in range(60)])

#: container -> how a column of numbers is put into it
CONTAINERS = {
    "list": lambda v: v.tolist(),
    "numpy": lambda v: v,
    "negative strides": lambda v: v[::-1].copy()[::-1],
    "big-endian": lambda v: v.astype(v.dtype.newbyteorder(">")),
    "masked without a mask": lambda v: np.ma.array(v),
    "objects": lambda v: np.array(v.tolist(), object),
    "pandas": lambda v: pd.Series(v),
    "nullable": lambda v: pd.Series(v).convert_dtypes(),
    "pandas of Arrow": lambda v: pd.Series(v).astype(pd.ArrowDtype(pa.from_numpy_dtype(v.dtype))),
    "categorical": lambda v: pd.Series(v).astype("category"),
    "polars": lambda v: pl.Series(v),
    "Arrow": lambda v: pa.array(v),
    "Arrow chunks": lambda v: pa.chunked_array([v[:2], v[2:]]),
    "Arrow dictionary": lambda v: pa.array(v).dictionary_encode(),
    "torch": lambda v: torch.from_numpy(v.copy()).requires_grad_(v.dtype.kind == "f"),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", ["int64", "float64", "bool", "int8", "float32"])
def test_every_container_keeps_every_value(container, dtype):
    """Whole numbers of ten digits, as integers or as float64, booleans and small types come out as they went in."""
    values = (TEN_DIGITS if dtype in {"int64", "float64"} else np.arange(60) % 2).astype(dtype)
    table = Table.from_columns({"a": CONTAINERS[container](values)}, y=np.arange(60) % 2)
    assert table.x["a"].tolist() == values.tolist()


MISSING = {
    "list": [1, None, 3],
    "list of floats": [1.0, float("nan"), 3.0],
    "list of booleans": [True, None, False],
    "objects": np.array([1, pd.NA, 3], object),
    "pandas": pd.Series([1, None, 3]),
    "nullable": pd.array([1, None, 3], "Int64"),
    "nullable boolean": pd.array([True, None, False], "boolean"),
    "pandas of Arrow": pd.Series([1, None, 3], dtype="int64[pyarrow]"),
    "polars": pl.Series([1, None, 3]),
    "polars boolean": pl.Series([True, None, False]),
    "polars decimal": pl.Series([decimal.Decimal(1), None, decimal.Decimal(3)]),
    "Arrow": pa.array([1, None, 3]),
    "Arrow boolean": pa.array([True, None, False]),
    "Arrow dictionary": pa.array([1, None, 3]).dictionary_encode(),
    "torch": torch.tensor([1.0, float("nan"), 3.0]),
}


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("feature", [SparseFeature("a", 5), DenseFeature("a")], ids=["sparse", "dense"])
def test_a_missing_value_is_called_missing(kind, feature):
    """A missing value of a feature is an error before training, which names the column, the row and what to do, in every container."""
    table = Table.from_columns({"a": MISSING[kind]})
    with pytest.raises(ValueError, match=rf"{type(feature).__name__} 'a': .*got a missing value \(NaN\) at row 1\..*missing"):
        check_table(table, [feature])
    with pytest.raises(ValueError, match=r"Labels must be finite; got a missing value \(NaN\) at row 1"):
        check_table(Table.from_columns({"b": [0, 1, 2]}, y=MISSING[kind]), [])


REFUSED = {
    "masked": (np.ma.array([1, 2, 3], mask=[0, 1, 0]), "Column 'a': the value at row 1 is masked"),
    "masked vector": (np.ma.array([[1, 2], [3, 4]], mask=[[0, 0], [0, 1]]), "Column 'a': the value at row 1 is masked"),
    "beyond float32": (np.array([0.5, 1e39]), "Column 'a': numbers are stored as float32.*got 1e\\+39 at row 1"),
    "vector beyond float32": (np.array([[0.5, 0.1], [0.1, -1e39]]), "got -1e\\+39 at row 1"),
    "beyond int64": ([1, 2**70], f"Column 'a': whole numbers must fit in 64 signed bits; got {2**70} at row 1"),
    "unsigned": (np.array([1, 2**64 - 1], np.uint64), f"got {2**64 - 1} at row 1"),
    "large beside missing": ([2**60, None], "Column 'a': whole numbers must fit beside a missing value.* at row 0"),
    "large beside missing in pandas": (pd.array([2**60, None], "Int64"), "Column 'a': beside missing values whole numbers"),
    "large beside missing in polars": (pl.Series([2**60, None]), "Column 'a': beside missing values whole numbers"),
    "large beside missing in Arrow": (pa.array([2**60, None]), "Column 'a': beside missing values whole numbers"),
    "text among objects": (np.array([1, "x"], object), "Column 'a': values must be numbers; got 'x' at row 1"),
    "complex": (np.array([1j, 2j]), "Column 'a': values must be numbers; got complex128"),
    "sparse tensor": (torch.eye(2).to_sparse(), "Column 'a': a tensor must be dense; got torch.sparse_coo. Give values.to_dense"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_value_that_cannot_be_kept_is_named(kind):
    """A masked value, a number out of range and what is no number are errors that name column, row and value."""
    values, message = REFUSED[kind]
    with pytest.raises((ValueError, TypeError), match=message):
        Table.from_columns({"a": values})


def test_infinite_values_are_named():
    """An infinite value of a dense feature is called what it is."""
    with pytest.raises(ValueError, match=r"DenseFeature 'a': values must be finite; got -inf at row 1"):
        check_table(Table.from_columns({"a": [0.5, -np.inf]}), [DenseFeature("a")])


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_groups_of_ten_digits_are_told_apart(dtype):
    """GAUC over a carried column of large ids, whole-valued floats included, is that of the ids themselves."""
    x, y = zoo.columns(), zoo.labels(zoo.columns())
    x["uid"] = (9_000_000_000 + np.arange(len(y)) % 8).astype(dtype)
    _, val, _ = DataGenerator(x, y).generate_dataloader(x, y, batch_size=16, seed=0)
    trainer = CTRTrainer(zoo.model(), model_path=None, progress=False, metrics=[GAUC(group="uid")])
    expected = gauc_score(y, trainer.predict(trainer.model, val), x["uid"].astype(np.int64))
    assert trainer.evaluate(trainer.model, val) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (torch.tensor([3e7, 3e7 + 2, 5.0, 5.0]), "groups in a float32 column must be whole numbers up to 16777216; got 30000000 at row 0"),
        (torch.tensor([1.0, 1.5, 2.0, 2.0]), "got 1.5 at row 1"),
        (torch.tensor([1.0, float("nan"), 2.0, 2.0]), r"got a missing value \(NaN\) at row 1"),
    ],
)
def test_groups_that_were_rounded_are_refused(group, message):
    """Groups that may have been rounded into one, fractions and missing groups are errors."""
    metric = GAUC(group="uid")
    metric.update(torch.tensor([1, 0, 1, 0]), torch.rand(4), x={"uid": group})
    with pytest.raises(ValueError, match=f"GAUC: column 'uid': .*{message}"):
        metric.compute()


def test_weighted_areas_do_not_depend_on_other_groups():
    """A group's weighted area is that of the group alone, whatever weights the groups before it have."""
    y, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.5, 0.5])
    weight, group = np.array([1e18, 3e18, 0.1, 0.2]), np.array([0, 0, 1, 1])
    areas, sizes = group_areas(y, score, weight, group)
    assert areas.tolist() == [1.0, 0.5]
    assert sizes.tolist() == [4e18, 0.1 + 0.2]
    generator = np.random.default_rng(0)
    group = np.sort(generator.integers(0, 40, 600))
    y, score = generator.integers(0, 2, 600), generator.integers(0, 9, 600) / 9
    weight = generator.random(600) * 10.0 ** generator.integers(-9, 15, 40)[group]
    for g, area in zip(np.unique(group), group_areas(y, score, weight, group)[0], strict=True):
        rows = group == g
        pairs = [
            (w * v, 1.0 if s > t else 0.5 * (s == t))
            for s, w in zip(score[rows & (y == 1)], weight[rows & (y == 1)], strict=True)
            for t, v in zip(score[rows & (y == 0)], weight[rows & (y == 0)], strict=True)
        ]
        assert area == pytest.approx(sum(w * won for w, won in pairs) / sum(w for w, _ in pairs), rel=1e-13)


@pytest.mark.parametrize(
    ("sequences", "expected", "dtype"),
    [
        ([[0.5, 0.9], [12.7]], [[0.5, 0.9], [0.0, 12.7]], np.float32),
        ([[2**40 + 1], [3, 4]], [[0, 2**40 + 1], [3, 4]], np.int64),
        ([np.array([2**40]), np.array([1, 2])], [[0, 2**40], [1, 2]], np.int64),
        ([[1, 2.0]], [[1, 2]], np.float32),
        ([[True], []], [[1], [0]], np.int32),
    ],
)
def test_pad_sequences_takes_a_dtype_that_fits(sequences, expected, dtype):
    """Fractions stay fractions, and hashed ids keep every bit."""
    matrix = pad_sequences(sequences)
    assert matrix.dtype == dtype
    assert matrix.tolist() == np.array(expected, dtype).tolist()


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ([[1], [2, 2**40]], {"dtype": "int32"}, f"int32 cannot hold {2**40} in sequence 1 at place 1"),
        ([[0.5]], {"dtype": "int64"}, "int64 cannot hold 0.5 in sequence 0 at place 0"),
        ([[1]], {"dtype": "int32", "value": 0.5}, "int32 cannot hold 0.5 as the padding"),
        ([[1, float("nan")]], {"dtype": "int32"}, "int32 cannot hold nan in sequence 0 at place 1"),
        ([["a"]], {}, "values must be numbers"),
    ],
)
def test_pad_sequences_refuses_a_dtype_that_does_not_fit(sequences, options, message):
    """A dtype that would change a value is refused, with the value and its place."""
    with pytest.raises((ValueError, TypeError), match=message):
        pad_sequences(sequences, **options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_predict_widens_half_precision(dtype):
    """Predictions in half precision become float32, which numpy has; float64 stays."""

    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return torch.full((len(x["age"]),), 0.25, dtype=dtype)

    predictions = CTRTrainer(Answers(), model_path=None, progress=False).predict(Answers(), zoo.loaders()[1])
    assert predictions.dtype == (np.float64 if dtype is torch.float64 else np.float32)
    assert set(predictions.tolist()) == {0.25}


def test_datasets_take_arrays_that_torch_cannot_wrap():
    """Arrays with negative strides and of another byte order are rows of a data set, and batches of a DataLoader."""
    x = {"a": np.arange(6)[::-1], "b": np.arange(6).astype(">f4")}
    loader = torch.utils.data.DataLoader(TorchDataset(x, np.arange(6)[::-1]), batch_size=6)
    batch, y = next(iter(loader))
    assert batch["a"].tolist() == y.tolist() == [5, 4, 3, 2, 1, 0]
    assert batch["b"].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.from_numpy(TorchDataset(x, [0] * 6).x["a"]).tolist() == [5, 4, 3, 2, 1, 0]


def test_a_column_may_be_whole_in_one_set_and_fractional_in_another():
    """A dense column whose training values are whole numbers and whose validation values are not is one column."""
    train, val, _ = DataGenerator({"a": [1, 2, 3]}, [0, 1, 0]).generate_dataloader({"a": [0.5, 1.0]}, [0, 1], batch_size=2)
    assert (train.table.x["a"].tolist(), val.table.x["a"].tolist()) == ([1, 2, 3], [0.5, 1.0])
