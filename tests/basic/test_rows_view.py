"""RowsView: writes reach the table, and reads do not change it."""

import copy
import io

import pytest
import torch

from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers.rows_view import RowsView
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.optim import Adam


@pytest.fixture
def table():
    torch.manual_seed(0)
    table = EmbeddingTable([SparseFeature("a", 4, 3), SparseFeature("b", 6, 3)])
    optimizer = Adam(table.parameters(), lr=0.1)
    for row in range(9):
        optimizer.zero_grad()
        table(torch.tensor([row])).sum().backward()
        optimizer.step()
    assert not table.owner.settled
    return table


def set_item(w):
    w[2] = 7.0


def set_data(w):
    w.data = torch.full((6, 3), 2.0)


WRITES = {
    "setitem": set_item,
    "mul_": lambda w: w.mul_(2),
    "copy_": lambda w: w.copy_(torch.ones(6, 3)),
    "imul": lambda w: w.__imul__(3),
    "init": torch.nn.init.ones_,
    "out": lambda w: torch.add(w, 1.0, out=w),
    "row": lambda w: w[1].fill_(5.0),
    "transposed": lambda w: w.t().add_(1.0),
    "unbound": lambda w: w.unbind(0)[3].zero_(),
    "detached": lambda w: w.detach().zero_(),
    "data": lambda w: w.data.clamp_(min=0.0),
    "data row": lambda w: w.data[0].neg_(),
    "set data": set_data,
    "masked": lambda w: w.masked_fill_(w > 0, 9.0),
    "index": lambda w: w.index_fill_(0, torch.tensor([1, 3]), 4.0),
}


@pytest.mark.parametrize("name", WRITES)
def test_every_way_to_write_settles_the_table_and_writes_there(table, name):
    """After a write the table equals a plain tensor of up-to-date rows after the same write; other features do not change."""
    expected = table.owner.peek(slice(None))
    with torch.no_grad():
        view = table.rows_of("b")
        assert isinstance(view, RowsView)
        WRITES[name](expected[4:])
        if name == "set data":
            expected[4:] = 2.0
        WRITES[name](view)
    assert table.owner.settled
    assert torch.equal(table.weight, expected)
    assert torch.equal(view.clone(), expected[4:])
    assert not isinstance(table.rows_of("b"), RowsView)


def test_reading_gives_plain_tensors_and_changes_nothing(table):
    """Sums, comparisons, copies and pickles are plain tensors, and the rows of the table still lag."""
    view, before = table.rows_of("a"), table.weight.clone()
    for result in (view.sum(), view + 1, view > 0, view.clone(), torch.stack([view, view]), view[[0, 1]], copy.deepcopy(view)):
        assert type(result) is torch.Tensor
    file = io.BytesIO()
    torch.save({"w": view}, file)
    file.seek(0)
    assert type(torch.load(file, weights_only=True)["w"]) is torch.Tensor
    assert view.shape == (4, 3)
    assert view[0].tolist() == view.tolist()[0]
    assert "-0.3998" in repr(view)
    assert not view.detach().numpy().flags.writeable
    assert torch.equal(table.weight, before)
    assert not table.owner.settled


def test_a_gradient_reaches_the_table_through_the_copy(table):
    """A penalty on the weight of a feature gives the weight of the table the gradient at the up-to-date values."""
    table.weight.grad = None
    view = table.rows_of("b")
    view.square().sum().backward()
    expected = torch.zeros(10, 3)
    expected[4:] = 2 * table.owner.peek(slice(4, 10))
    assert torch.equal(table.weight.grad, expected)


def test_an_in_place_write_needs_no_grad_as_for_any_parameter(table):
    """An in-place write without torch.no_grad raises the error of torch."""
    with pytest.raises(RuntimeError, match="in-place"):
        table.rows_of("a").mul_(2)
