"""SGD, Adagrad, RowWiseAdagrad and FTRL on tables, compared with dense optimizers; gradient clipping by the norm."""

import copy
import io

import numpy as np
import pytest
import torch
from adam_oracle import backward, dense, make_gradients, make_table

from torch_rechub.optim import FTRL, SGD, Adagrad, RowWiseAdagrad, clip_grad_norm_

TORCHS = [
    (SGD, torch.optim.SGD, {}),
    (SGD, torch.optim.SGD, {"momentum": 0.9}),
    (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (SGD, torch.optim.SGD, {"momentum": 0.5, "dampening": 0.3}),
    (Adagrad, torch.optim.Adagrad, {}),
    (Adagrad, torch.optim.Adagrad, {"lr_decay": 0.01, "initial_accumulator_value": 0.1}),
    (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    (Adagrad, torch.optim.Adagrad, {"weight_decay": 0.01}),
]


@pytest.mark.parametrize(("kind", "torchs", "options"), TORCHS)
def test_sgd_and_adagrad_by_rows_are_those_of_torch(kind, torchs, options):
    """With learning rates and a momentum that change at every step, the weights equal those of torch on dense gradients."""
    table, twin = make_table(), make_table()
    optimizer, other = kind(table.parameters(), lr=0.1, **options), torchs(twin.parameters(), lr=0.1, **options)
    for t, (rows, grad) in enumerate(make_gradients(600)):
        for group in (optimizer.param_groups[0], other.param_groups[0]):
            group["lr"] = 0.01 * (1 + t % 5)
            if options.get("momentum") == 0.9 and not options.get("nesterov"):
                group["momentum"] = 0.0 if 300 <= t < 310 else 0.8 + 0.01 * (t % 10)
        optimizer.zero_grad()
        backward(table, rows, grad)
        optimizer.step()
        twin.weight.grad = dense(rows, grad, 12)
        other.step()
    optimizer.detach()
    torch.testing.assert_close(table.weight, twin.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), [(SGD, {"momentum": 0.9}), (Adagrad, {}), (RowWiseAdagrad, {}), (FTRL, {"l1": 0.1})])
def test_rules_saved_and_loaded_in_the_middle_change_no_bit(kind, options):
    """A run that is saved, loaded into a new optimizer and continued gives the same bits as one that is not."""
    steps, straight, table = make_gradients(300), make_table(), make_table()
    uninterrupted, resumed = kind(straight.parameters(), lr=0.1, **options), kind(table.parameters(), lr=0.1, **options)
    for t, (rows, grad) in enumerate(steps):
        if t == 290:
            file = io.BytesIO()
            torch.save((uninterrupted.state_dict(), straight.weight.detach()), file)
            file.seek(0)
            state, weight = torch.load(file, weights_only=True)
            with torch.no_grad():
                table.weight.copy_(weight)
            resumed.load_state_dict(state)
        for each, its_table in ((uninterrupted, straight), (resumed, table)) if t >= 290 else ((uninterrupted, straight),):
            each.zero_grad()
            backward(its_table, rows, grad)
            each.step()
    assert torch.equal(straight.weight, table.weight)
    uninterrupted.detach(), resumed.detach()
    assert torch.equal(straight.weight, table.weight)


def test_row_wise_adagrad_has_one_sum_per_row():
    """RowWiseAdagrad equals a loop with one sum per row; all other parameters have one sum per coordinate."""
    table, layer = make_table(), torch.nn.Linear(3, 2)
    w, total = table.weight.detach().double().numpy().copy(), np.full(12, 0.5)
    optimizer = RowWiseAdagrad([*table.parameters(), *layer.parameters()], lr=0.1, initial_accumulator_value=0.5)
    for rows, grad in make_gradients(50):
        optimizer.zero_grad()
        backward(table, rows, grad)
        optimizer.step()
        for row, g in zip(rows.tolist(), grad.double().numpy(), strict=True):
            total[row] += (g**2).mean()
            w[row] -= 0.1 * g / (np.sqrt(total[row]) + 1e-10)
    np.testing.assert_allclose(table.weight.detach().numpy(), w, atol=1e-5)
    assert optimizer.state[table.weight]["sum"].shape == (12, 1)
    assert optimizer.state[layer.weight]["sum"].shape == (2, 3)


@pytest.mark.parametrize("as_dense", [False, True])
def test_ftrl_is_algorithm_1(as_dense):
    """FTRL equals the loop of the paper over coordinates, from the initial weights; the L1 penalty gives exact zeros."""
    table = make_table()
    w = table.weight.detach().double().numpy().copy()
    alpha, beta, l1, l2 = 0.1, 1.0, 2.0, 0.5
    z, n = -w * (beta / alpha + l2) - np.sign(w) * l1, np.zeros_like(w)
    optimizer = FTRL(table.parameters(), lr=alpha, beta=beta, l1=l1, l2=l2)
    for rows, grad in make_gradients(60):
        optimizer.zero_grad()
        if as_dense:
            table.weight.grad = dense(rows, grad, 12)
        else:
            backward(table, rows, grad)
        optimizer.step()
        for row, gs in zip(rows.tolist(), grad.double().numpy(), strict=True):
            for j, g in enumerate(gs):
                sigma = (np.sqrt(n[row, j] + g * g) - np.sqrt(n[row, j])) / alpha
                z[row, j] += g - sigma * w[row, j]
                n[row, j] += g * g
                far = z[row, j] - np.sign(z[row, j]) * l1
                w[row, j] = 0 if abs(z[row, j]) <= l1 else -far / ((beta + np.sqrt(n[row, j])) / alpha + l2)
    np.testing.assert_allclose(table.weight.detach().numpy(), w, atol=1e-5)
    assert (w == 0).any()
    assert ((table.weight == 0).numpy() == (w == 0)).all()


def test_ftrl_trains_other_parameters_too():
    """A linear layer is trained as a table with the same gradients, and bad arguments are refused."""
    table, layer = make_table(), torch.nn.Linear(3, 12, bias=False)
    with torch.no_grad():
        layer.weight.copy_(table.weight)
    optimizer = FTRL([table.weight, layer.weight], lr=0.1, l1=0.01)
    for rows, grad in make_gradients(20):
        optimizer.zero_grad()
        backward(table, rows, grad)
        layer.weight.grad = dense(rows, grad, 12)
        optimizer.step()
    assert torch.equal(table.weight, layer.weight)
    for options in ({"lr": 0.0}, {"l1": -1.0}, {"l2": -1.0}, {"beta": -1.0}):
        with pytest.raises(ValueError, match="FTRL"):
            FTRL([layer.weight], **options)


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_is_that_of_dense_gradients(max_norm):
    """The norm and the factor of coalesced, uncoalesced and dense gradients are those of torch for dense gradients."""
    once, twice, weight = (torch.nn.Parameter(torch.zeros(6, 3)) for _ in range(3))
    once.grad = torch.sparse_coo_tensor([[1, 4]], torch.randn(2, 3), (6, 3), check_invariants=False).coalesce()
    twice.grad = torch.sparse_coo_tensor([[4, 1, 4]], torch.randn(3, 3), (6, 3), check_invariants=False)
    weight.grad = torch.randn(6, 3)
    copies = [torch.nn.Parameter(torch.zeros(6, 3)) for _ in range(3)]
    for parameter, twin in zip((once, twice, weight), copies, strict=True):
        twin.grad = copy.deepcopy(parameter.grad).to_dense()
    expected = torch.nn.utils.clip_grad_norm_(copies, max_norm)
    torch.testing.assert_close(clip_grad_norm_(iter([once, twice, weight, torch.nn.Parameter(torch.zeros(1))]), max_norm), expected)
    for parameter, twin in zip((once, twice, weight), copies, strict=True):
        torch.testing.assert_close(parameter.grad.to_dense(), twin.grad)


def test_clipping_without_gradients_and_with_a_norm_that_is_not_finite():
    """The norm of no gradient is 0. As in torch, NaN makes all gradients NaN, and infinity makes them 0 and NaN."""
    assert clip_grad_norm_([torch.nn.Parameter(torch.zeros(1))], 1.0) == 0
    for bad in (float("nan"), float("inf")):
        ours, theirs = ([torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))] for _ in range(2))
        for parameters in (ours, theirs):
            parameters[0].grad, parameters[1].grad = torch.tensor([1.0, bad]), torch.ones(2)
        torch.testing.assert_close(clip_grad_norm_(ours, 1.0), torch.nn.utils.clip_grad_norm_(theirs, 1.0), equal_nan=True)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a.grad, b.grad, equal_nan=True)
