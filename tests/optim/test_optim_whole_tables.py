"""Steps that change every row of a table: coupled decay, penalties on all rows, and torch's Adam in a hand-written loop."""

import logging

import numpy as np
import pytest
import torch
from adam_oracle import backward, dense, make_gradients, make_table

from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers.embedding import EmbeddingLayer
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.data import DataGenerator
from torch_rechub.models.ranking import DeepFM
from torch_rechub.optim import SGD, Adagrad, Adam
from torch_rechub.trainers import CTRTrainer

PENALTY = RegularizationLoss(embedding_l1=0.01, embedding_l2=0.1)


def lagging(n_step=30):
    table = make_table()
    optimizer = Adam(table.parameters(), lr=0.1)
    for rows, grad in make_gradients(n_step):
        optimizer.zero_grad()
        backward(table, rows, grad)
        optimizer.step()
    assert not table.owner.settled
    return table, optimizer


@pytest.mark.parametrize(("kind", "torchs"), [(Adam, torch.optim.Adam), (SGD, torch.optim.SGD), (Adagrad, torch.optim.Adagrad)])
def test_coupled_decay_gives_the_bits_of_torch_with_accumulated_gradients_too(kind, torchs):
    """One or two backward passes, a gradient from before attach, and steps without a gradient give the bits of torch."""
    table, twin = make_table(), make_table()
    ours, theirs = kind(table.parameters(), lr=0.1, weight_decay=0.1), torchs(twin.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    for t, (rows, grad) in enumerate(make_gradients(60)):
        ours.zero_grad()
        theirs.zero_grad()
        if t % 4 == 3:
            ours.detach()
        if t % 7:
            for each in (table, twin):
                backward(each, rows, grad)
                if t % 4 == 2:
                    backward(each, rows.flip(0)[:1], grad[:1])
        ours.step()
        theirs.step()
        assert torch.equal(table.weight, twin.weight)


def test_a_step_that_fails_leaves_no_gradient_behind(monkeypatch):
    """After an error in torch's step, the gradient is that of the batch again, and the next step does not use it."""
    table, twin = make_table(), make_table()
    ours, theirs = (Adam(each.parameters(), lr=0.1, weight_decay=0.1) for each in (table, twin))

    def fail():
        raise RuntimeError("no")

    backward(table, torch.tensor([3]), torch.ones(1, 3))
    with monkeypatch.context() as patch:
        patch.setattr(ours._torch, "step", fail)
        with pytest.raises(RuntimeError, match="no"):
            ours.step()
    assert table.weight.grad.indices().tolist() == [[3]]
    for each, optimizer in ((table, ours), (twin, theirs)):
        optimizer.zero_grad()
        backward(each, torch.tensor([5]), torch.ones(1, 3))
        optimizer.step()
    assert torch.equal(table.weight, twin.weight)


def test_a_penalty_uses_the_up_to_date_values_of_lagging_rows():
    """Without gradients the table does not change, with gradients it is settled; both give the penalty of settled rows."""
    table, _ = lagging()
    before = table.weight.detach().clone()
    with torch.no_grad():
        without_grad = PENALTY(table)
    assert torch.equal(table.weight, before)
    assert not table.owner.settled
    with_grad = PENALTY(table)
    assert table.owner.settled
    weight = table.weight.detach().double().numpy()
    assert not np.allclose(weight, before)
    expected = 0.01 * np.abs(weight).sum() + 0.1 * np.square(weight).sum()
    np.testing.assert_allclose([float(without_grad), float(with_grad.detach())], expected, rtol=1e-6)


@pytest.mark.parametrize("every", [1, 4])
def test_a_penalty_on_tables_trains_as_under_torchs_adam(every, caplog):
    """A penalty at each step or at every fourth step gives the weights of dense Adam, and the dense step is logged once."""
    table, twin = make_table(), make_table()
    ours, theirs = Adam(table.parameters(), lr=1e-2), torch.optim.Adam(twin.parameters(), lr=1e-2)
    with caplog.at_level(logging.INFO, logger="torch_rechub"):
        for t, (rows, grad) in enumerate(make_gradients(120)):
            for each, optimizer in ((table, ours), (twin, theirs)):
                optimizer.zero_grad()
                loss = (each(rows) * grad).sum()
                (loss + PENALTY(each) if t % every == 0 else loss).backward()
                optimizer.step()
    ours.detach()
    torch.testing.assert_close(table.weight, twin.weight, rtol=1e-4, atol=1e-6)
    assert len([record for record in caplog.records if "their gradient is dense" in record.message]) == 1


def test_torchs_adam_in_a_hand_written_loop_trains_the_model_after_fit():
    """After fit the tables have no owner, and a step of torch's Adam uses dense gradients and the weights at the end of fit."""
    rng = np.random.default_rng(0)
    x = {"a": rng.integers(0, 30, 256), "b": rng.integers(0, 20, 256)}
    features = [SparseFeature("a", 30, 4), SparseFeature("b", 20, 8)]
    torch.manual_seed(0)
    model = DeepFM(features, features[:1], {"dims": [8]})
    loader, _, _ = DataGenerator(x, rng.integers(0, 2, 256)).generate_dataloader(batch_size=32, seed=0)
    CTRTrainer(model, n_epoch=2, model_path=None, progress=False).fit(loader)
    tables = list(model.embedding.tables.values())
    assert [table.owner for table in tables] == [None, None]
    before = [table.weight.detach().clone() for table in tables]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(next(iter(loader))).backward()
    optimizer.step()
    for table, old in zip(tables, before, strict=True):
        expected = torch.nn.Parameter(old)
        expected.grad = table.weight.grad
        torch.optim.Adam([expected], lr=0.1).step()
        assert not table.weight.grad.is_sparse
        assert torch.equal(table.weight, expected)


def test_a_layer_of_several_widths_trains_as_under_torchs_adam():
    """Tables of three widths that one row-wise Adam trains are at the end those of torch's Adam."""
    ends = []
    for kind in (Adam, torch.optim.Adam):
        torch.manual_seed(0)
        layer = EmbeddingLayer([SparseFeature("a", 12, 2), SparseFeature("b", 12, 3), SparseFeature("c", 12, 5), SparseFeature("d", 12, 3)])
        optimizer = kind(layer.parameters(), lr=1e-2)
        for rows, _ in make_gradients(100):
            optimizer.zero_grad()
            x = {"a": rows, "b": rows.flip(0), "c": 11 - rows, "d": rows}
            layer(x, layer.features, squeeze_dim=True).square().sum().backward()
            optimizer.step()
        ends.append(layer.state_dict())
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-6)


def test_the_dense_gradient_is_zero_between_steps():
    """The dense gradient holds the rows of the batch only during a step."""
    table = make_table()
    optimizer = Adam(table.parameters(), lr=0.1, weight_decay=0.1)
    for rows, grad in make_gradients(20):
        optimizer.zero_grad()
        backward(table, rows, grad)
        optimizer.step()
        assert not table.owner._dense_grad.any()
        assert torch.equal(table.weight.grad.to_dense(), dense(rows, grad, 12))
