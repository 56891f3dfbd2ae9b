"""Containers and values that numpy alone would convert silently, or refuse in words of its own."""

from __future__ import annotations

import decimal
import warnings

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.basic.metric import GAUC
from torch_rechub.data import Table, pad_sequences

BEYOND = 2**53 + 1  # the first whole number that float64 does not hold


@pytest.mark.parametrize(
    "column",
    [
        [decimal.Decimal(BEYOND), decimal.Decimal(1)],
        pl.Series([decimal.Decimal(BEYOND), decimal.Decimal(1)], dtype=pl.Decimal(38, 0)),
        pa.array([decimal.Decimal(BEYOND), decimal.Decimal(1)]),
        pl.Series([BEYOND, 1], dtype=pl.Int128),
    ],
    ids=["list of decimals", "polars decimals", "Arrow decimals", "polars Int128"],
)
def test_whole_decimals_keep_every_digit(column):
    """Whole numbers of wide types become integers, not float64."""
    assert Table.from_columns({"a": column}).x["a"].tolist() == [BEYOND, 1]


def test_an_eight_bit_float_is_widened():
    """A float type that numpy does not have is widened to float32."""
    assert Table.from_columns({"a": torch.tensor([0.5, 2.0]).to(torch.float8_e4m3fn)}).x["a"].tolist() == [0.5, 2.0]


REFUSED = {
    "an integer rounded beside a float": ([BEYOND, 0.5], f"got {BEYOND} at row 0"),
    "128 bits": (pl.Series([1, 2**100], dtype=pl.Int128), f"got {2**100} at row 1"),
    "missing list": ([[1, 2], None], "list at row 1 is missing"),
    "missing polars list": (pl.Series([[1, 2], None]), "list at row 1 is missing"),
    "missing polars array": (pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)), "list at row 1 is missing"),
    "missing Arrow list": (pa.array([[1, 2], None]), "list at row 1 is missing"),
    "missing Arrow array": (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), "list at row 1 is missing"),
    "missing list of objects": (np.array([[1, 2], None], object), "list at row 1 is missing"),
    "polars struct": (pl.Series([{"a": 1}, {"a": 2}]), "Struct"),
    "Arrow map": (pa.array([[(1, 2)], [(3, 4)]], pa.map_(pa.int64(), pa.int64())), "map<int64, int64>"),
    "dates": (np.array(["2020-01-01", "NaT"], "M8[D]"), "missing value (NaT) at row 1"),
    "meta": (torch.empty(2, device="meta"), "has no values"),
    "complex": (torch.tensor([1j, 2j]).conj(), "complex64"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_column_without_a_number_in_each_row_is_named(kind):
    """The error names the column, and what stands in the place of numbers."""
    column, message = REFUSED[kind]
    with pytest.raises((TypeError, ValueError)) as raised:
        Table.from_columns({"a": column})
    assert message in str(raised.value)
    assert "Column 'a'" in str(raised.value)


def test_a_nested_tensor_is_named():
    """A tensor with rows of different lengths is refused with the name of its column."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls nested tensors a prototype
        nested = torch.nested.nested_tensor([torch.tensor([1, 2]), torch.tensor([3])])
    with pytest.raises(TypeError, match=r"Column 'a'.*nested tensor"):
        Table.from_columns({"a": nested})


@pytest.mark.parametrize(
    "sequences", [[torch.tensor([1, 2]), torch.tensor([3])], pa.array([[1, 2], [3]]), pl.Series([[1, 2], [3]]), ([1, 2], (3,))]
)
def test_pad_sequences_reads_every_container(sequences):
    """Tensors, Arrow and polars lists, and tuples are sequences too."""
    assert pad_sequences(sequences).tolist() == [[1, 2], [0, 3]]


PADDING_REFUSED = {
    "masked": ([np.ma.array([1, 2], mask=[0, 1])], {}, "sequence 0.*masked"),
    "missing": ([[1], None], {}, "sequence 1 is missing"),
    "missing in Arrow": (pa.array([[1], None]), {}, "sequence 1 is missing"),
    "no list": ([[1], 2], {}, "sequence 1 is 2"),
    "nested": ([[[1, 2]], [[3]]], {}, r"the list \[1, 2\]"),
    "beyond float16": ([[70000.0]], {"dtype": "float16"}, "float16 cannot hold 70000.0"),
    "beyond int64": ([[2.0**63]], {"dtype": "int64"}, "int64 cannot hold 9.2"),
    "ids with a fraction as padding": ([[2**40], [1, 2]], {"value": -0.5}, f"float32 cannot hold {2**40}"),
}


@pytest.mark.parametrize("kind", PADDING_REFUSED)
def test_pad_sequences_names_what_it_cannot_keep(kind):
    """A masked or missing sequence, and a value that the dtype cannot hold, are named by their sequence."""
    sequences, options, message = PADDING_REFUSED[kind]
    with pytest.raises((TypeError, ValueError), match=message):
        pad_sequences(sequences, **options)


def test_groups_that_are_no_numbers_are_named():
    """A list of strings, as torch's DataLoader collates a column of them, is refused with the name of the column."""
    with pytest.raises(ValueError, match=r"x\['user'\] must be a tensor of numbers; got list"):
        GAUC("user").update(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.2]), x={"user": ["a", "b"]})


def test_the_groups_of_the_early_stopper_are_checked_as_those_of_gauc():
    """Groups that float32 has rounded are refused there too."""
    stopper = EarlyStopper(patience=2, min_delta="significant", groups="user")
    rows = {"y_true": torch.tensor([1.0, 0, 1, 0]), "y_pred": torch.rand(4), "groups": torch.tensor([9e9, 9e9 + 1, 1, 2]).float()}
    stopper.stop_training(0.6, {}, **rows)
    with pytest.raises(ValueError, match=r"EarlyStopper: groups 'user'.*whole numbers up to 16777216"):
        stopper.stop_training(0.7, {}, **rows)


@pytest.mark.parametrize("shape", [(3,), (3, 2)])
def test_whole_numbers_beside_missing_values_keep_every_digit(shape):
    """A float64 column of ten-digit numbers with a missing value stays float64, as a number for each row and as a list."""
    column = np.full(shape, 1e10 + 1)
    column[1] = np.nan
    table = Table.from_columns({"seen": column, "age": [0.5, 0.25, 0.125]}, y=[1.0, 0.0, 1.0])
    batch, _ = table.take([2, 1]).batch(slice(0, 2))
    assert torch.equal(batch["seen"].double().nan_to_num(-1), torch.tensor(column[[2, 1]]).nan_to_num(-1))
    assert batch["age"].tolist() == [0.125, 0.25]
