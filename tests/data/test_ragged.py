"""Columns of lists of different lengths: each batch is as wide as its own longest list."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
import zoo

from torch_rechub.basic.features import SequenceFeature
from torch_rechub.data import DataGenerator, Table, TableLoader, check_table
from torch_rechub.models.ranking import DIN

LISTS = [[3, 4], [], [5], [6, 7, 8, 9], [1], [2, 2]]


@pytest.mark.parametrize(
    "x",
    [
        {"h": LISTS},
        {"h": [np.array(row, np.int64) for row in LISTS]},
        {"h": tuple(map(tuple, LISTS))},
        pd.DataFrame({"h": LISTS}),
        pd.DataFrame({"h": LISTS}, index=range(9, 3, -1)),
        pl.DataFrame({"h": LISTS}),
        pa.table({"h": LISTS}),
    ],
    ids=["lists", "arrays", "tuples", "pandas", "pandas with an index", "polars", "arrow"],
)
def test_lists_of_different_lengths_are_padded_behind_their_end(x):
    """Every kind of table gives the same batches: the ids of each row, then zeros up to the longest row of the batch."""
    table = Table.from_columns(x, y=[0, 1, 0, 1, 0, 1])
    assert table.batch(torch.tensor([0, 2]))[0]["h"].tolist() == [[3, 4], [5, 0]]
    assert table.batch(slice(1, 3))[0]["h"].tolist() == [[0], [5]]
    assert table.batch(torch.tensor([3, 1]))[0]["h"].tolist() == [[6, 7, 8, 9], [0, 0, 0, 0]]
    assert table.batch(torch.tensor([1]))[0]["h"].tolist() == [[0]]
    assert table.take([1, 2, 0]).batch(slice(1, 2))[0]["h"].tolist() == [[5]]
    assert table[2][0]["h"].tolist() == [5, 0, 0, 0]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loaders_pad_each_batch_to_its_longest_list(num_workers):
    """A loader's batches have all lists, in order, each batch of its own width; a shuffled one has the same rows."""
    table = Table.from_columns({"h": LISTS}, y=[0, 1, 0, 1, 0, 1])
    batches = [x["h"] for x, _ in TableLoader(table, 2, num_workers=num_workers)]
    assert [list(batch.shape) for batch in batches] == [[2, 2], [2, 4], [2, 2]]
    for loader in (TableLoader(table, 4), TableLoader(table, 4, shuffle=True, seed=3)):
        rows = [[i for i in row.tolist() if i] for x, _ in loader for row in x["h"]]
        assert sorted(rows) == sorted(LISTS)
    train, val, test = DataGenerator({"h": LISTS}, [0, 1, 0, 1, 0, 1]).generate_dataloader(split_ratio=(0.5, 0.2), batch_size=2, seed=0)
    split = [[i for i in row.tolist() if i] for loader in (train, val, test) for x, _ in loader for row in x["h"]]
    assert sorted(split) == sorted(LISTS)


def test_a_model_of_ragged_lists_trains_as_one_of_padded_lists():
    """Training, evaluation and predictions are those of the same lists padded to one length, to rounding."""
    x = zoo.RECIPES["DIN"].columns(60, 0)
    ragged = dict(x, **{name: [[i for i in row if i] for row in x[name].tolist()] for name in ("items", "categories")})
    results = []
    for columns in (x, ragged):
        train, val, _ = DataGenerator(columns, zoo.labels(x)).generate_dataloader(split_ratio=(0.7, 0.3), batch_size=8, seed=1)
        trainer = zoo.trainer(zoo.model("DIN", dropout=0.0), n_epoch=2, optimizer_params={"lr": 0.01})
        trainer.fit(train, val)
        results.append((trainer.history["loss"], trainer.predict(trainer.model, val)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-4)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("padding_idx", [None, 3])
def test_a_feature_of_ragged_lists_must_know_the_padding(padding_idx):
    """Before the first step, an error names a sequence that would read the padding as an entry."""
    history = SequenceFeature("h", 12, 4, "concat", padding_idx=padding_idx)
    table = Table.from_columns({"h": LISTS, "item": [1, 2, 3, 4, 5, 6]}, y=[0, 1, 0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"SequenceFeature 'h': its lists have different lengths.*padding_idx must be 0; got"):
        check_table(table, [history])
    item = zoo.ITEM
    with pytest.raises(ValueError, match="padding_idx must be 0"):
        zoo.trainer(DIN([], [history], [item], {"dims": [4]}, {"dims": [4]})).fit(TableLoader(table, 2))


@pytest.mark.parametrize(
    ("lists", "said"),
    [([[1], [2, "x"]], "must be numbers"), ([[1], [[2, 3], [4]]], "list"), ([[1, 2], None], "missing"), ([[1, 2], 3], "h")],
)
def test_lists_that_hold_no_numbers_are_refused(lists, said):
    """Strings, lists of lists, missing lists and single values among lists are errors."""
    with pytest.raises((TypeError, ValueError), match=said):
        Table.from_columns({"h": lists})
