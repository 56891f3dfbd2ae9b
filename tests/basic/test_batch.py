"""The pair that a loader yields, taken apart."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch

from torch_rechub.basic.batch.packed import Layout, PackedFeatures
from torch_rechub.basic.batch.parts import at_least_tiny, split_batch

X = {"a": torch.tensor([1, 2])}


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize(
    "y", [torch.tensor([0, 1]), torch.tensor([[0.0], [1.0]]), torch.tensor([False, True]), np.array([0, 1]), [0, 1]], ids=str
)
def test_labels_become_one_float_column(kind, y):
    """Integers, booleans, arrays, lists and (B, 1) become floats (B,), in a tuple or a list, with weights or without."""
    for batch in (kind([X, y]), kind([X, y, y])):
        parts = split_batch(batch)
        assert parts.x is X
        assert parts.y.tolist() == [0.0, 1.0]
        assert parts.y.is_floating_point()
        assert (parts.weight is None) is (len(batch) == 2)
        assert parts.weight is None or parts.weight.shape == (2,)


def test_features_alone_have_no_labels():
    """A mapping, a packed batch, a tensor, or one of them in a list of one, is x."""
    packed = PackedFeatures(Layout(ids=("a",)), torch.tensor([[1], [2]]), torch.zeros(2, 0))
    for x in (X, packed, torch.zeros(2, 3)):
        for batch in (x, [x], (x, None), (x, None, None)):
            parts = split_batch(batch)
            assert parts.x is x
            assert parts.y is None
            assert parts.weight is None


def test_labels_of_several_tasks_stay_as_they_are():
    """(B, T) labels are kept, and float64 is not narrowed."""
    y = torch.rand(2, 3, dtype=torch.float64)
    assert split_batch((X, y)).y is y


@pytest.mark.parametrize("bad", [7, None, (), (1, 2, 3, 4), object()])
def test_what_is_no_batch_is_refused(bad):
    """The error says what a batch is and what came."""
    with pytest.raises(TypeError, match=r"A batch must be \(x, y\), \(x, y, weight\) or a mapping of columns; got"):
        split_batch(bad)


@pytest.mark.parametrize("name", ["y", "id", "age", "user"])
def test_the_name_of_a_column_is_no_batch(name):
    """A DataFrame in place of a loader yields its columns' names: the error says so, and what makes a loader, whatever their length."""
    with pytest.raises(TypeError, match=rf"A batch must be \(x, y\).*got the name '{name}'.*DataGenerator"):
        split_batch(name)


def test_a_batch_moves_whole():
    """to() moves x whatever holds it (dicts, lists, tuples, named ones, packed) and leaves what is no tensor."""
    device = torch.device("meta")
    Pair = namedtuple("Pair", "a b")
    tensor = torch.zeros(2)
    packed = PackedFeatures(Layout(ids=("a",)), torch.tensor([[1], [2]]), torch.zeros(2, 0))
    for x in (tensor, {"a": tensor}, [tensor, "text"], (tensor, {"b": [tensor]}), Pair(tensor, tensor), packed):
        moved = split_batch((x, tensor, tensor)).to(device)
        assert type(moved.x) is type(x)
        leaves = _leaves(moved.x)
        assert leaves
        assert all(leaf.device == device for leaf in [*leaves, moved.y, moved.weight])
    assert split_batch((X, tensor)).to(torch.device("cpu")).x["a"] is X["a"]


def _leaves(x):
    """All tensors in there."""
    if isinstance(x, torch.Tensor):
        return [x]
    values = [] if isinstance(x, str) else x.values() if hasattr(x, "values") else x
    return [leaf for value in values for leaf in _leaves(value)]


def test_sums_to_divide_by_are_never_zero():
    """A sum of weights is as it was, and a zero becomes the smallest number that divides 0 to 0."""
    assert at_least_tiny(torch.tensor(3.0)) == 3.0
    assert torch.tensor(0.0) / at_least_tiny(torch.tensor(0.0)) == 0.0


def test_single_rows_are_refused_with_the_remedy():
    """A loader of single rows, such as a data set given in place of a DataLoader, is named for what it is."""
    with pytest.raises(ValueError, match=r"yields one row at a time. Use DataLoader\(dataset, batch_size=1024\)"):
        split_batch(({"user": torch.tensor(3)}, torch.tensor(1.0)))
