"""The Frappe reader, on a tiny file that is written here, and on the published split if it is in ../shared/data."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from torch_rechub.datasets import load_frappe

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "frappe"
HEADER = "label,user,item,daytime,weekday,isweekend,homework,cost,weather,country,city"
CONTEXT = "50,51,52,53,54,55,56,57"


def write(folder, **files):
    for name, rows in files.items():
        with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
            file.write("\n".join([HEADER, *rows]) + "\n")


@pytest.fixture
def tiny(tmp_path):
    write(
        tmp_path,
        train=[f"1,3,20,{CONTEXT}", f"0,1,30,{CONTEXT}", f"0,3,25,{CONTEXT}"],
        valid=[f"1,1,25,{CONTEXT}"],
        test=[f"0,2,99,{CONTEXT}", f"1,0,20,{CONTEXT}"],
    )
    return tmp_path


def test_frappe_ids_count_from_train(tiny):
    """The ids of train values are 1, 2, ... in ascending order; all other values have id 0."""
    data = load_frappe(tiny)
    assert data.train.x["user"].tolist() == [2, 1, 2]
    assert data.train.x["item"].tolist() == [1, 3, 2]
    assert data.val.x["item"].tolist() == [2]
    assert data.test.x["user"].tolist() == [0, 0]
    assert data.test.x["item"].tolist() == [0, 1]
    assert data.train.x["city"].tolist() == [1, 1, 1]
    assert [split.y.tolist() for split in (data.train, data.val, data.test)] == [[1, 0, 0], [1], [0, 1]]
    dense, sparse = data.feature_columns()
    assert dense == []
    assert [(feature.name, feature.vocab_size, feature.embed_dim) for feature in sparse][:3] == [
        ("user", 3, 10),
        ("item", 4, 10),
        ("daytime", 2, 10),
    ]


def test_frappe_missing_file_is_named(tiny):
    """A folder without one of the files is an error that names all files and the missing one."""
    (tiny / "valid.csv.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold train.csv.gz.*there is no valid.csv.gz"):
        load_frappe(tiny)


def test_frappe_other_files_are_refused(tiny):
    """Other columns, or values that are not integers, are an error that names the file."""
    write(tiny, valid=[f"1,1,city,{CONTEXT}"])
    with pytest.raises(ValueError, match=r"valid\.csv\.gz must hold 11 whole numbers"):
        load_frappe(tiny)
    write(tiny, valid=[f"1,1,25,{CONTEXT}"])
    with gzip.open(tiny / "test.csv.gz", "wt") as file:
        file.write("user,item\n1,2\n")
    with pytest.raises(ValueError, match=r"test\.csv\.gz must begin with the columns label,user.*got user,item"):
        load_frappe(tiny)


@pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="Frappe may not be redistributed; put its three files into ../shared/data/frappe to test on it"
)
def test_frappe_published_split_is_read():
    """The published split has its published sizes and share of positives, and the vocabularies hold its 5,382 ids."""
    data = load_frappe(PUBLISHED)
    assert [len(split.y) for split in (data.train, data.val, data.test)] == [202_027, 57_722, 28_860]
    assert data.train.y.sum() == 67_604
    assert set(data.train.x) == set(data.vocabularies)
    for split in (data.train, data.val, data.test):
        assert split.y.mean() == pytest.approx(1 / 3, abs=0.01)
        for name, values in split.x.items():
            assert values.dtype == np.int32
            assert 0 <= values.min() <= values.max() < len(data.vocabularies[name])
    assert all(ids.min() > 0 for ids in data.train.x.values())
    file_ids = np.concatenate([ids[1:] for ids in data.vocabularies.values()])
    assert len(np.unique(file_ids)) == len(file_ids) <= 5_382
