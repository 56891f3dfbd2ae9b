"""Ownership of tables: which rows may lag, when rows are brought up to date, and which values other code reads."""

import copy
import logging
import pickle

import pytest
import torch
from adam_oracle import backward, dense, make_gradients, make_table

from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers.embedding import EmbeddingLayer
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.optim import FTRL, SGD, Adagrad, Adam, AdamW, RowWiseAdagrad, row_wise

EVERY = [Adam, AdamW, SGD, Adagrad, RowWiseAdagrad, FTRL]
MOVING = [Adam, AdamW, lambda params, lr: SGD(params, lr=lr, momentum=0.9), lambda params, lr: SGD(params, lr, 0.9, nesterov=True)]


def train(optimizer, table, steps):
    for rows, grad in steps:
        optimizer.zero_grad()
        backward(table, rows, grad)
        optimizer.step()


def lagging(kind=Adam):
    table = make_table()
    optimizer = kind(table.parameters(), lr=0.1)
    train(optimizer, table, make_gradients(30))
    assert not table.owner.settled
    return table, optimizer


@pytest.mark.parametrize("kind", EVERY)
def test_the_constructor_attaches_and_the_gradient_holds_the_rows_read(kind):
    """A table without an owner has a dense gradient; from the constructor until detach it has a coalesced sparse one."""
    table = make_table()
    table(torch.tensor([5, 2, 5])).sum().backward()
    assert not table.weight.grad.is_sparse
    optimizer = kind(table.parameters(), lr=0.1)
    optimizer.zero_grad()
    table(torch.tensor([[5, 2], [5, 7]])).sum().backward()
    grad = table.weight.grad
    assert grad.is_coalesced()
    assert grad.indices().tolist() == [[2, 5, 7]]
    assert grad.values()[:, 0].tolist() == [1, 2, 1]
    optimizer.detach()
    optimizer.zero_grad()
    table(torch.tensor([5, 2, 5])).sum().backward()
    assert not table.weight.grad.is_sparse


@pytest.mark.parametrize("kind", MOVING)
def test_reading_without_training_changes_no_bit_and_gives_up_to_date_rows(kind):
    """Evaluation, the weight of a feature, pickle and deepcopy give the values after settle, and do not change the table."""
    table, _ = lagging(kind)
    before = [
        table.weight.clone(),
        *(x.clone() for x in table.owner.state.values() if isinstance(x, torch.Tensor)),
        table.owner.last.clone(),
    ]
    with torch.no_grad():
        read = [table(torch.arange(12)), table.rows_of("a"), copy.deepcopy(table).weight, pickle.loads(pickle.dumps(table)).weight]
    after = [table.weight, *(x for x in table.owner.state.values() if isinstance(x, torch.Tensor)), table.owner.last]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(table.weight, read[0])
    table.settle()
    for weight in read:
        assert torch.equal(weight, table.weight)


def test_a_copy_has_no_owner_and_trains_by_hand():
    """A deep copy has a dense gradient, can get an owner, and does not affect the optimizer of the first table."""
    table, _ = lagging()
    twin = copy.deepcopy(table)
    twin(torch.tensor([1])).sum().backward()
    assert twin.owner is None
    assert not twin.weight.grad.is_sparse
    Adam(twin.parameters())
    assert twin.owner is not None
    assert table.owner is not twin.owner


def test_two_optimizers_that_alternate_are_those_of_torch():
    """A step first attaches the optimizer, after the other one has settled; the weights are those of two dense optimizers."""
    results = []
    for kinds in ((Adam, SGD), (torch.optim.Adam, torch.optim.SGD)):
        table = make_table()
        first, second = kinds[0](table.parameters(), lr=1e-2), kinds[1](table.parameters(), lr=1e-2, momentum=0.9)
        for t, (rows, grad) in enumerate(make_gradients(120)):
            optimizer = first if t // 7 % 2 else second
            optimizer.zero_grad()
            backward(table, rows, grad)
            optimizer.step()
            if kinds[0] is Adam:
                assert table.owner is optimizer._rows[table.weight]
        table.settle()
        results.append(table.weight)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


def test_torch_adam_after_detach_and_attach_again():
    """After detach, torch's Adam can load the state and train; after attach, the row-wise Adam continues with its moments."""
    table, ours = lagging()
    twin = copy.deepcopy(table)
    ours.detach()
    by_hand = torch.optim.Adam(twin.parameters(), lr=0.1)
    by_hand.load_state_dict(copy.deepcopy(ours.state_dict()))
    steps = make_gradients(40, seed=5)
    ours.attach()
    train(ours, table, steps)
    train(by_hand, twin, steps)
    ours.detach()
    torch.testing.assert_close(table.weight, twin.weight, rtol=1e-4, atol=1e-6)
    ours.load_state_dict(by_hand.state_dict())
    torch.testing.assert_close(ours.state_dict()["state"][0]["exp_avg"], by_hand.state_dict()["state"][0]["exp_avg"])


@pytest.mark.parametrize("kind", EVERY)
def test_dense_gradients_accumulated_ones_and_rows_not_read_are_exact(kind):
    """A penalty on all rows, a backward pass without an owner, two lookups and two backward passes give the dense result."""
    table, twin = make_table(), make_table()
    optimizer, other = kind(table.parameters(), lr=1e-2), kind(twin.parameters(), lr=1e-2)
    for t, (rows, grad) in enumerate(make_gradients(60)):
        optimizer.zero_grad()
        if t % 4 == 0:
            ((table(rows) * grad).sum() + (table(rows.flip(0)) * grad).sum()).backward()
        elif t % 4 == 1:
            backward(table, rows, grad), backward(table, rows.flip(0), grad)
        elif t % 4 == 2:
            ((table(rows) * grad).sum() + (table(rows.flip(0)) * grad).sum() + 0 * table.weight.sum()).backward()
            assert not table.weight.grad.is_sparse
        else:
            optimizer.detach()
            backward(table, rows, grad), backward(table, rows.flip(0), grad)
        optimizer.step()
        twin.weight.grad = dense(rows, grad, 12) + dense(rows.flip(0), grad, 12)
        other.step()
    optimizer.detach()
    other.detach()
    torch.testing.assert_close(table.weight, twin.weight, rtol=1e-4, atol=1e-6)


def test_a_sparse_gradient_of_rows_not_read_is_exact():
    """The step brings rows up to date that the last lookup did not read, for example those of another process."""
    table, twin = make_table(), make_table()
    optimizer, other = Adam(table.parameters(), lr=1e-2), torch.optim.Adam(twin.parameters(), lr=1e-2)
    for rows, grad in make_gradients(60):
        both = torch.cat([rows, rows])
        table.weight.grad = torch.sparse_coo_tensor(both[None], torch.cat([grad, grad]), table.weight.shape, check_invariants=False)
        optimizer.step()
        twin.weight.grad = 2 * dense(rows, grad, 12)
        other.step()
    optimizer.detach()
    torch.testing.assert_close(table.weight, twin.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", EVERY)
def test_padding_rows_are_not_trained(kind):
    """A padding row that is read stays zero, and its gradient is zero."""
    table = make_table(padding_idx=3)
    with torch.no_grad():
        table.weight[3] = 0
    optimizer = kind(table.parameters(), lr=0.1)
    for rows in ([3], [2, 3, 4], [0], [11, 3]):
        optimizer.zero_grad()
        table(torch.tensor(rows)).sum().backward()
        assert not table.weight.grad.to_dense()[3].any()
        assert table.weight.grad.to_dense()[rows[0]].any() == (rows[0] != 3)
        optimizer.step()
    table.settle()
    assert not table.weight[3].any()


def test_writes_from_outside_first_bring_all_rows_up_to_date():
    """load_state_dict and a write into the weight of a feature settle the table first, and the written values are kept."""
    layer = EmbeddingLayer([SparseFeature("a", 6, 3), SparseFeature("b", 6, 3)])
    table = layer.table_of("a")
    optimizer = Adam(layer.parameters(), lr=0.1)
    train(optimizer, table, make_gradients(30))
    expected = layer.state_dict()["embed_dict.b.weight"].clone()
    with torch.no_grad():
        layer.embed_dict["a"].weight[2] = 7.0
    assert table.owner.settled
    assert layer.embed_dict["a"].weight[2].tolist() == [7.0] * 3
    assert torch.equal(layer.embed_dict["b"].weight, expected)
    train(optimizer, table, make_gradients(3))
    layer.load_state_dict({"embed_dict.a.weight": torch.ones(6, 3), "embed_dict.b.weight": torch.zeros(6, 3)})
    assert torch.equal(table.weight, torch.cat([torch.ones(6, 3), torch.zeros(6, 3)]))
    assert table.owner.settled


def test_tables_can_be_trained_after_a_change_of_dtype():
    """After .double() all rows are up to date, and training continues in the new dtype."""
    table, optimizer = lagging()
    table.double()
    assert table.owner.settled
    optimizer.zero_grad()
    table(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    assert optimizer.state[table.weight]["exp_avg"].dtype is torch.float64


@pytest.mark.parametrize(
    "options", [{"weight_decay": 0.1}, {"amsgrad": True}, {"maximize": True}, {"betas": (0.9999, 0.999)}, {"eps": 0.0}]
)
def test_options_that_change_every_row_use_torchs_dense_step_and_are_logged_once(options, caplog):
    """Coupled decay and similar options give the bits of torch, no row lags, and one line is logged."""
    table, twin = make_table(), make_table()
    with caplog.at_level(logging.INFO, logger="torch_rechub"):
        optimizer, torchs = Adam(table.parameters(), lr=0.1, **options), torch.optim.Adam(twin.parameters(), lr=0.1, fused=True, **options)
        for each in make_gradients(10):
            train(optimizer, table, [each])
            assert table.weight.grad.indices()[0].tolist() == each[0].tolist()
            assert table.owner.settled
    train(torchs, twin, make_gradients(10))
    assert torch.equal(torch.nan_to_num(table.weight), torch.nan_to_num(twin.weight))
    assert len([record for record in caplog.records if "densely" in record.message]) == 1


def test_decay_for_some_steps_is_exact():
    """With coupled decay for some steps, rows settle, the dense step is used for these steps, and row mode continues after them."""
    table, twin = make_table(), make_table()
    optimizer, torchs = Adam(table.parameters(), lr=1e-2), torch.optim.Adam(twin.parameters(), lr=1e-2)
    for t, (rows, grad) in enumerate(make_gradients(90)):
        for each in (optimizer, torchs):
            each.param_groups[0]["weight_decay"] = 0.1 if 30 <= t < 60 else 0.0
        train(optimizer, table, [(rows, grad)])
        train(torchs, twin, [(rows, grad)])
        assert table.owner.settled == (30 <= t < 60)
    optimizer.detach()
    torch.testing.assert_close(table.weight, twin.weight, rtol=1e-4, atol=1e-6)


def test_a_closure_is_called_once_and_a_step_without_gradient_changes_nothing():
    """As in torch, step returns the loss of the closure, and a table without a gradient keeps its weights and its step number."""
    table = make_table()
    optimizer = Adam(table.parameters())
    before = table.weight.clone()
    optimizer.step()
    assert torch.equal(table.weight, before)
    assert optimizer.state[table.weight]["step"] == 0

    def closure():
        optimizer.zero_grad()
        loss = table(torch.tensor([1])).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == before[1].sum()
    assert optimizer.state[table.weight]["step"] == 1


def test_groups_added_later_and_frozen_tables():
    """add_param_group attaches the tables of the group; a table that is not trained has no owner."""
    table, later = make_table(), make_table(seed=1)
    frozen = EmbeddingTable([SparseFeature("f", 3, 2)], trainable=False)
    optimizer = Adam([*table.parameters(), *frozen.parameters()])
    optimizer.add_param_group({"params": later.parameters(), "lr": 1.0})
    assert later.owner is not None
    assert frozen.owner is None


@pytest.mark.parametrize("kind", EVERY)
def test_bad_arguments_are_refused(kind):
    """Bad arguments raise the errors of torch; a tensor as learning rate and a copy of the optimizer raise a TypeError."""
    params = list(make_table().parameters())
    with pytest.raises(ValueError, match=r"lr|learning rate"):
        kind(params, lr=-1.0)
    with pytest.raises(TypeError, match="lr must be a number"):
        kind(params, lr=torch.tensor(0.1))
    with pytest.raises(TypeError, match="state_dict"):
        copy.deepcopy(kind(params))


def test_adam_checks_betas_eps_and_decay_as_torch():
    """Each argument out of range raises the error of torch."""
    params = list(make_table().parameters())
    for options in ({"betas": (1.0, 0.9)}, {"betas": (0.9, 1.0)}, {"eps": -1.0}, {"weight_decay": -1.0}):
        with pytest.raises(ValueError, match="Invalid"):
            Adam(params, **options)


def test_row_wise_returns_the_optimizer_with_the_same_mathematics():
    """Four optimizers of torch have a row-wise form; other optimizers, tensors and unknown arguments give None."""
    for torchs, ours in ((torch.optim.Adam, Adam), (torch.optim.AdamW, AdamW), (torch.optim.SGD, SGD), (torch.optim.Adagrad, Adagrad)):
        assert row_wise(torchs, {"lr": 0.1, "weight_decay": 0.0}) is ours
    assert row_wise(torch.optim.RMSprop, {}) is None
    assert row_wise(torch.optim.Adam, {"lr": torch.tensor(0.1)}) is None
    assert row_wise(torch.optim.Adam, {"unknown": 1}) is None
    assert row_wise(lambda params: None, {}) is None


@pytest.mark.filterwarnings("default")  # warnings of torch's compiler
def test_a_compiled_model_trains_by_rows_with_the_same_bits():
    """torch.compile does not change lookups and updates of rows."""
    ends = []
    for compiled in (True, False):
        table = make_table()
        optimizer = Adam(table.parameters(), lr=0.1)
        model = torch.compile(torch.nn.Sequential(table), backend="eager") if compiled else table
        for rows, grad in make_gradients(6):
            optimizer.zero_grad()
            (model(rows) * grad).sum().backward()
            assert table.weight.grad.is_coalesced()
            optimizer.step()
            with torch.no_grad():
                model(rows)
        optimizer.detach()
        ends.append(table.weight)
    assert torch.equal(*ends)
