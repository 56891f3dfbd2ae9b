"""The embedded Adult data: it equals the published data, its splits are fixed, and no statistics use validation or test rows."""

import numpy as np
import pytest

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.datasets import load_adult
from torch_rechub.datasets.adult.reader import ADULT_FILE, CATEGORICAL, NUMERIC, TEST, TRAIN, VALIDATION, content_digest

CONTENT = "8e772095f4f7731a0569a15894c4bf801d234cdd6b273cbc3e2c7550d04ee41c"


@pytest.fixture(scope="module")
def stored():
    with np.load(ADULT_FILE, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope="module")
def adult():
    return load_adult()


def test_adult_holds_the_published_rows(stored):
    """The file has the rows, positives and columns that UCI publishes, and its digest is unchanged."""
    assert all(len(stored[name]) == 48_842 for name in (*NUMERIC, *CATEGORICAL, "label", "split"))
    assert len(NUMERIC + CATEGORICAL) == 14
    assert stored["label"].sum() == 11_687
    assert stored["label"][:32_561].sum() == 7_841
    with_missing = np.any([stored[name] == 0 for name in CATEGORICAL], axis=0)
    assert (with_missing[:32_561].sum(), with_missing[32_561:].sum()) == (2_399, 1_221)
    assert content_digest(stored) == CONTENT
    assert ADULT_FILE.stat().st_size < 600_000


def test_adult_first_row_reads_as_published(stored):
    """The first row equals the first row of the published train file."""
    row = [stored[name][0] for name in NUMERIC] + [stored[f"{name}.vocabulary"][stored[name][0]] for name in CATEGORICAL]
    numbers = [39, 77516, 13, 2174, 0, 40]
    strings = ["State-gov", "Bachelors", "Never-married", "Adm-clerical", "Not-in-family", "White", "Male", "United-States"]
    assert row == numbers + strings


def test_adult_tests_on_the_published_test_file(stored):
    """Train and validation are 90 % and 10 % of the published train file, and the published test file is the test split."""
    assert (stored["split"][32_561:] == TEST).all()
    assert np.bincount(stored["split"][:32_561]).tolist() == [29_305, 3_256]
    assert {TRAIN, VALIDATION} == set(stored["split"][:32_561].tolist())


def test_adult_splits_are_disjoint_and_complete(stored, adult):
    """Every stored row is in exactly one split, in stored order, with its own label and ids."""
    for split, (x, y) in enumerate((adult.train, adult.val, adult.test)):
        rows = stored["split"] == split
        assert np.array_equal(y, stored["label"][rows])
        assert all(np.array_equal(x[name], stored[name][rows]) for name in CATEGORICAL)
    assert sum(len(subset.y) for subset in (adult.train, adult.val, adult.test)) == 48_842


def test_adult_ids_fit_their_vocabularies(adult):
    """Ids are below the vocabulary size, which is that of the feature, and id 0 is for missing values."""
    dense, sparse = adult.feature_columns(embed_dim=8)
    assert dense == [DenseFeature(name) for name in adult.dense]
    assert sparse == [SparseFeature(name, len(adult.vocabularies[name]), 8) for name in adult.sparse]
    for x, y in (adult.train, adult.val, adult.test):
        assert set(x) == set(adult.dense + adult.sparse)
        assert {column.shape for column in x.values()} == {y.shape}
        assert all(x[name].dtype == np.float32 for name in adult.dense)
        for name in adult.sparse:
            assert x[name].dtype == np.int32
            assert 0 <= x[name].min() <= x[name].max() < len(adult.vocabularies[name])
            assert adult.vocabularies[name][0] == "?"
            assert len(set(adult.vocabularies[name])) == len(adult.vocabularies[name])


def test_adult_dense_columns_are_standard_on_train(adult):
    """On the train split the mean is 0 and the standard deviation is 1; on the test split the mean is not 0."""
    for name in adult.dense:
        assert adult.train.x[name].mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
        assert adult.train.x[name].std(dtype=np.float64) == pytest.approx(1, abs=1e-6)
        assert adult.test.x[name].mean(dtype=np.float64) != pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["age", "capital_gain", "capital_loss", "hours_per_week"])
def test_adult_buckets_hold_their_values(stored, adult, name):
    """Every value lies in the bucket of its id, and every bucket has a train row."""
    names = adult.vocabularies[f"{name}_bucket"]
    bounds = np.array([text.strip("[)").split(", ") for text in names[1:]], dtype=np.float64)
    for split, (x, _) in enumerate((adult.train, adult.val, adult.test)):
        values, ids = stored[name][stored["split"] == split], x[f"{name}_bucket"]
        low, high = bounds[ids - 1].T
        assert (low <= values).all()
        assert (values < high).all()
    assert set(adult.train.x[f"{name}_bucket"].tolist()) == set(range(1, len(names)))
