"""Checks of values in tables and batches: an invalid value is an error that names the feature, the row, the value and the remedy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_rechub.basic.batch import checks
from torch_rechub.basic.batch.checks import check_features, check_labels
from torch_rechub.basic.batch.packed import PackedFeatures
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.data import Table, check_table

FEATURES = (
    SparseFeature("city", 20),
    SparseFeature("item", 1000),
    DenseFeature("age"),
    DenseFeature("vector", embed_dim=2),
    SequenceFeature("clicks", 30, padding_idx=0),
)
N = 40


def valid_columns():
    rng = np.random.default_rng(0)
    return {
        "city": rng.integers(0, 20, N),
        "item": rng.integers(0, 1000, N),
        "other": rng.integers(-(2**31), 2**31, N),
        "age": rng.normal(size=N),
        "carried": np.full(N, np.nan),
        "vector": rng.normal(size=(N, 2)),
        "clicks": rng.integers(0, 30, (N, 4)),
    }


def with_value(name, index, value):
    x = valid_columns()
    column = x[name].astype(float) if isinstance(value, float) else x[name].copy()
    column[index] = value
    return {**x, name: column}


def test_check_accepts_valid_columns():
    """Valid columns pass as a table, as a packed batch and as a dict; columns that no feature reads are not checked."""
    table = Table.from_columns(valid_columns(), np.linspace(0, 1, N))
    check_table(table, FEATURES)
    check_table(table, list(FEATURES))
    check_features(table.x, FEATURES)
    check_features(dict(table.x), FEATURES)
    check_features(table.x.take(slice(0, 1)), FEATURES)
    check_features(table.x.take(slice(0, 0)), FEATURES)
    check_features(Table.from_columns(valid_columns() | {"city": np.array([2**40] * N)}).x, FEATURES[1:])  # an int64 matrix


def test_check_accepts_either_number_type():
    """Whole-number floats are accepted as ids, and integers as dense values."""
    x = valid_columns() | {
        "city": np.arange(N) % 20.0,
        "age": np.arange(N),
        "clicks": valid_columns()["clicks"] * 1.0,
        "vector": np.ones((N, 2), int),
    }
    check_table(Table.from_columns(x), FEATURES)


WRONG = {
    "too large": (
        "city",
        17,
        25,
        "SparseFeature 'city': ids must be < vocab_size=20; got 25 at row 17. Use vocab_size=26 or re-encode from 0.",
    ),
    "just too large": (
        "item",
        0,
        1000,
        "SparseFeature 'item': ids must be < vocab_size=1000; got 1000 at row 0. Use vocab_size=1001 or re-enc",
    ),
    "64 bits": (
        "item",
        3,
        2**40,
        f"SparseFeature 'item': ids must be < vocab_size=1000; got {2**40} at row 3. Use vocab_size={2**40 + 1} or",
    ),
    "negative": ("city", 39, -1, "SparseFeature 'city': ids must be >= 0; got -1 at row 39. Re-encode from 0"),
    "negative 64 bits": ("city", 5, -(2**40), f"SparseFeature 'city': ids must be >= 0; got {-(2**40)} at row 5. Re-encode from 0"),
    "fraction": ("city", 2, 2.5, "SparseFeature 'city': ids must be whole numbers; got 2.5 at row 2. Encode it as ids from 0"),
    "missing id": ("city", 2, float("nan"), "SparseFeature 'city': ids must be whole numbers; got a missing value (NaN) at row 2."),
    "float too large": ("city", 4, 20.0, "SparseFeature 'city': ids must be < vocab_size=20; got 20 at row 4. Use vocab_size=21"),
    "infinite id": ("city", 4, float("inf"), "SparseFeature 'city': ids must be whole numbers; got inf at row 4."),
    "missing number": (
        "age",
        21,
        float("nan"),
        "DenseFeature 'age': values must be finite; got a missing value (NaN) at row 21. Fill missing values",
    ),
    "infinite number": ("age", 21, float("-inf"), "DenseFeature 'age': values must be finite; got -inf at row 21."),
    "in a vector": ("vector", (8, 1), float("nan"), "DenseFeature 'vector': values must be finite; got a missing value (NaN) at row 8."),
    "in a list": ("clicks", (9, 3), 30, "SequenceFeature 'clicks': ids must be < vocab_size=30; got 30 at row 9. Use vocab_size=31"),
    "negative in a list": ("clicks", (9, 0), -5, "SequenceFeature 'clicks': ids must be >= 0; got -5 at row 9."),
}


@pytest.mark.parametrize("case", WRONG)
def test_check_names_feature_row_value_and_remedy(case):
    """The error is the same for a table, a packed batch and a dict, except that a batch has its own row numbers."""
    name, index, value, message = WRONG[case]
    table = Table.from_columns(with_value(name, index, value))
    with pytest.raises(ValueError, match=r".") as caught:
        check_table(table, FEATURES)
    assert str(caught.value).startswith(message)
    row = index if isinstance(index, int) else index[0]
    for x in (table.x, dict(table.x)):
        with pytest.raises(ValueError, match=r".") as caught:
            check_features(x, FEATURES)
        assert str(caught.value).startswith(message[: message.index(" at row")] + f" at row {row} of the batch.")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_check_agrees_with_a_loop_over_all_values(data):
    """A batch passes if and only if all ids of the read columns are within the vocabulary and all read numbers are finite."""
    ids = data.draw(
        st.lists(st.lists(st.sampled_from([-(2**31), -1, 0, 1, 4, 5, 8, 9, 2**31 - 1]), min_size=3, max_size=3), min_size=1, max_size=4)
    )
    numbers = data.draw(
        st.lists(st.sampled_from([0.0, -1.0, 3e38, -3e38, float("nan"), float("inf")]), min_size=len(ids), max_size=len(ids))
    )
    id_dtype = data.draw(st.sampled_from([np.int32, np.int64]))
    columns = {name: np.array([row[j] for row in ids], id_dtype) for j, name in enumerate("abc")}
    columns |= {"wide": np.full(len(ids), 2**40 if id_dtype is np.int64 else 1), "x": np.array(numbers), "y": np.array(numbers[::-1])}
    read = data.draw(st.sets(st.sampled_from(["a", "b", "x", "y"])))
    features = [
        feature for feature in (SparseFeature("a", 5), SparseFeature("b", 9), DenseFeature("x"), DenseFeature("y")) if feature.name in read
    ]
    is_valid = all(0 <= v < f.vocab_size if isinstance(f, SparseFeature) else np.isfinite(v) for f in features for v in columns[f.name])
    x = Table.from_columns(columns).x
    assert isinstance(x, PackedFeatures)
    for batch in (x, dict(x)):
        if is_valid:
            check_features(batch, tuple(features))
        else:
            with pytest.raises(ValueError, match=r"at row \d of the batch"):
                check_features(batch, tuple(features))


def test_check_keeps_layouts_and_features_apart():
    """Different features and layouts are never confused, also when a new object reuses the memory of an old one."""
    x = {"a": np.array([3, 4]), "b": np.array([9, 9])}
    for turn in range(200):
        size = 4 + turn % 3
        names = ["a", "b"] if turn % 2 else ["b", "a"]
        packed = Table.from_columns({name: x[name] for name in names}).x
        if size > 4:
            check_features(packed, (SparseFeature("a", size),))
        else:
            with pytest.raises(ValueError, match="vocab_size=4; got 4 at row 1"):
                check_features(packed, (SparseFeature("a", size),))


def test_check_of_a_column_of_two_features_applies_both():
    """If two features read one column, its values must be valid for both."""
    x = Table.from_columns({"a": [3, 4]}).x
    check_features(x, (SparseFeature("a", 10), SparseFeature("a", 5)))
    for features in ((SparseFeature("a", 10), SparseFeature("a", 4)), (SparseFeature("a", 4), SparseFeature("a", 10))):
        with pytest.raises(ValueError, match="vocab_size=4"):
            check_features(x, features)


@pytest.mark.parametrize(
    ("feature", "fragments"),
    [
        (SparseFeature("ctiy", 20), ["SparseFeature 'ctiy'", "must have this column", "Did you mean 'city'?"]),
        (DenseFeature("zzz"), ["DenseFeature 'zzz'", "it has city, item", "Add it"]),
        (SparseFeature("clicks", 30), ["SparseFeature 'clicks'", "(40, 4)", "SequenceFeature"]),
        (SequenceFeature("city", 20), ["SequenceFeature 'city'", "(40,)", "pad_sequences"]),
        (DenseFeature("vector"), ["DenseFeature 'vector'", "embed_dim=1", "(40, 2)", "Use embed_dim=2"]),
        (DenseFeature("age", embed_dim=3), ["DenseFeature 'age'", "embed_dim=3", "Use embed_dim=1"]),
    ],
)
def test_check_names_missing_and_misshapen_columns(feature, fragments):
    """A missing column is an error with the closest name; a column of another shape is an error with the feature class that fits."""
    table = Table.from_columns(valid_columns())
    for check in (lambda: check_table(table, [feature]), lambda: check_features(dict(table.x), [feature])):
        with pytest.raises(ValueError, match=r".") as caught:
            check()
        for fragment in fragments:
            assert fragment in str(caught.value)


def test_check_refuses_float_ids_that_may_be_rounded():
    """Ids of 2**24 and above in a float column are refused, because float32 cannot distinguish them."""
    ids = np.array([1.0, 2.0**24 + 1], np.float32)
    with pytest.raises(ValueError, match=r"ids in a float column must be < 16777216; got 16777216 at row 1\. Pass the column as integers"):
        check_table(Table.from_columns({"a": ids}), [SparseFeature("a", 2**25)])
    check_table(Table.from_columns({"a": ids.astype(np.int64)}), [SparseFeature("a", 2**25)])
    assert Table.from_columns({"a": np.array([1.0, 2.0**24 + 1])}).x["a"].tolist() == [1, 2**24 + 1]


def test_check_labels_names_value_and_row():
    """Labels must be finite, and in [0, 1] if they are binary; weights must be finite and >= 0; the error names the row."""
    x = {"a": np.arange(3)}
    check_table(Table.from_columns(x, [0, 5, -3]), [], binary_labels=False)
    check_table(Table.from_columns(x, np.eye(3)), [])
    with pytest.raises(ValueError, match=r"Labels must lie in \[0, 1\]; got 5 at row 1\. Map them"):
        check_table(Table.from_columns(x, [0, 5, -3]), [])
    with pytest.raises(ValueError, match=r"Labels must lie in \[0, 1\]; got -0\.5 at row 2\. Map them"):
        check_table(Table.from_columns(x, [[0, 1], [1, 1], [0, -0.5]]), [])
    for binary in (True, False):
        with pytest.raises(ValueError, match=r"Labels must be finite; got a missing value \(NaN\) at row 2\. Drop or fill"):
            check_table(Table.from_columns(x, [0, 1, float("nan")]), [], binary)
    with pytest.raises(ValueError, match=r"Row weights must be finite and >= 0; got -1 at row 1 of the batch\."):
        check_labels(torch.zeros(2), torch.tensor([1.0, -1.0]))


def test_check_refuses_an_empty_table():
    """A table without rows is an error."""
    empty = Table.from_columns({"a": [1]}, [1]).take(slice(0, 0))
    with pytest.raises(ValueError, match="at least one row; got none"):
        check_table(empty, [])


def test_check_changes_nothing():
    """Checks do not change a bit of the table."""
    table = Table.from_columns(valid_columns(), np.zeros(N))
    before = [tensor.clone() for tensor in (table.x.ids, table.x.numbers, *table.x.blocks, table.y)]
    check_table(table, FEATURES)
    after = (table.x.ids, table.x.numbers, *table.x.blocks, table.y)
    assert all(torch.equal(a, b) or a.isnan().any() for a, b in zip(before, after, strict=True))
    assert all(a.view(torch.int32).equal(b.view(torch.int32)) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("case", ["valid", *WRONG])
def test_check_on_the_device_agrees(case, monkeypatch):
    """On a device for which the host must not wait, the same batches fail, by an assertion on the device."""
    monkeypatch.setattr(checks, "_must_not_wait", lambda values: True)
    x = Table.from_columns(valid_columns() if case == "valid" else with_value(*WRONG[case][:3])).x
    for batch in (x, dict(x)):
        if case == "valid":
            check_features(batch, FEATURES)
            check_labels(torch.ones(3), torch.ones(3))
        else:
            with pytest.raises(RuntimeError, match=r"must be (>=|<|finite|whole)"):
                check_features(batch, FEATURES)


def test_check_works_in_compiled_code():
    """Compiled code refuses an invalid id by an assertion in the graph."""

    def check_and_add(ids):
        check_features({"a": ids}, (SparseFeature("a", 5),))
        return ids + 1

    compiled = torch.compile(check_and_add, backend="eager")
    assert compiled(torch.tensor([0, 4])).tolist() == [1, 5]
    with pytest.raises(RuntimeError, match="vocab_size=5"):
        compiled(torch.tensor([0, 5]))
