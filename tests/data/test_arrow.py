"""Arrow arrays and Parquet files become tensors without a change of a number."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import zoo
from torch.utils.data import DataLoader, IterableDataset

from torch_rechub.data.convert import pa_array_to_tensor
from torch_rechub.data.dataset import ParquetIterableDataset


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2**24 + 1]), torch.tensor([1, 2**24 + 1])),
        (pa.array([3, 4], pa.uint8()), torch.tensor([3, 4])),
        (pa.array([True, False]), torch.tensor([1, 0])),
        (pa.array([0.5, 1.5], pa.float64()), torch.tensor([0.5, 1.5])),
        (pa.chunked_array([[1], [2]]), torch.tensor([1, 2])),
        (pa.array([[1, 2], [3, 4]]), torch.tensor([[1, 2], [3, 4]])),
        (pa.array([[0.5], [1.5]], pa.list_(pa.float32(), 1)), torch.tensor([[0.5], [1.5]])),
        (pa.array([], pa.int64()), torch.empty(0, dtype=torch.int64)),
        (pa.array([], pa.list_(pa.float32())), torch.empty(0, 0)),
    ],
)
def test_arrow_arrays_keep_their_values_and_kind(array, expected):
    """Integers are int64, floats are float32, lists are rows of a matrix."""
    tensor = pa_array_to_tensor(array)
    assert tensor.dtype == expected.dtype
    assert torch.equal(tensor, expected)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (pa.array([1, None]), ValueError, "must have no missing value; got null at row 1"),
        (pa.array([[1, 2], [3, None]]), ValueError, "must have no missing value; got null at value 3"),
        (pa.array([[1], [2, 3]]), ValueError, "lists must have one length; got 1 at row 0 and 2 at row 1"),
        (pa.array([2**63], pa.uint64()), ValueError, "ids must fit in 64 signed bits; got 9223372036854775808 at row 0"),
        (pa.array([1.0, 1e300]), ValueError, r"which ends at 3.4e38; got 1e\+300 at row 1"),
        (pa.array(["a"]), TypeError, "values must be numbers"),
    ],
)
def test_arrow_values_that_a_tensor_would_lose_are_named(array, error, message):
    """Nulls, values out of range, ragged lists and texts are refused, with the row."""
    with pytest.raises(error, match=message):
        pa_array_to_tensor(array)


def written(folder: Path, n_file: int = 2) -> list[Path]:
    x = zoo.columns(24)
    paths = [folder / f"{i}.parquet" for i in range(n_file)]
    for i, path in enumerate(paths):
        columns = {name: column[i * 12 : (i + 1) * 12] for name, column in x.items()}
        columns |= {name: pa.array(columns[name].tolist()) for name in ("tags", "taste")}
        pq.write_table(pa.table({**columns, "label": zoo.labels(x)[i * 12 : (i + 1) * 12].astype(np.int8)}), path)
    return paths


class Labelled(IterableDataset):
    """Batches of features and labels, as a training script makes them."""

    def __init__(self, rows: ParquetIterableDataset) -> None:
        self.rows = rows

    def __iter__(self):
        for batch in self.rows:
            label = batch.pop("label")
            yield batch, label


def test_parquet_files_are_read_in_batches_and_trained_on(tmp_path):
    """The batches hold the rows of the files in order, and train and validate in CTRTrainer."""
    rows = ParquetIterableDataset(written(tmp_path), batch_size=8)
    batches = list(DataLoader(rows, batch_size=None))
    assert [len(batch["label"]) for batch in batches] == [8, 4, 8, 4]
    expected = zoo.columns(24)
    for name in expected:
        assert np.array_equal(torch.cat([batch[name] for batch in batches]).numpy(), expected[name].astype(batches[0][name].numpy().dtype))
    assert batches[0]["user"].dtype == torch.int64
    loader = DataLoader(Labelled(rows), batch_size=None)
    assert zoo.trainer(n_epoch=2).fit(loader, loader)[-1]["step"] == 8


def test_parquet_columns_and_paths_are_checked(tmp_path, monkeypatch):
    """Chosen columns are read, ``~`` is the home folder, and what is wrong is named."""
    (path,) = written(tmp_path, 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [*next(iter(ParquetIterableDataset(["~/0.parquet"], columns=["item", "label"])))] == ["item", "label"]
    with pytest.raises(ValueError, match=r"columns=\['price'\] must be in the Parquet files"):
        next(iter(ParquetIterableDataset([path], ["price"])))
    with pytest.raises(TypeError, match="must be a list of paths"):
        ParquetIterableDataset(str(path))
    with pytest.raises(ValueError, match="batch_size must be >= 1"):
        ParquetIterableDataset([path], batch_size=0)
    pq.write_table(pa.table({"user": [1, None]}), path)
    with pytest.raises(ValueError, match=r"Column 'user \(rows 0 to 1 of .*0.parquet\)': must have no missing value; got null at row 1"):
        next(iter(ParquetIterableDataset([path])))


def test_arrow_is_imported_late(monkeypatch):
    """Without pyarrow an error names the command that installs it."""
    monkeypatch.setitem(sys.modules, "pyarrow.dataset", None)
    with pytest.raises(ImportError, match=r"needs pyarrow\. Install it with: pip install pyarrow\."):
        ParquetIterableDataset([])
