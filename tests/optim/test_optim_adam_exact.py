"""The row-wise Adam is Adam: compared with a dense Adam in float64, and with torch's Adam in float32, on the same gradients."""

import io

import numpy as np
import pytest
import torch
from adam_oracle import backward, dense, dense_adam, make_gradients, make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_rechub.kernels.missed import MissedSteps
from torch_rechub.optim import Adam, AdamW, use_kernels

N_STEP = 250


def schedule(name, n, lr, beta1, rng):
    """Learning rates and beta1 of n steps."""
    at = np.arange(n) / n
    if name == "warm-up and cosine":
        return lr * np.minimum(at * 10 + 0.01, 1) * (0.5 + 0.5 * np.cos(np.pi * at)), np.full(n, beta1)
    if name == "one cycle":
        return lr * (0.1 + 0.9 * np.sin(np.pi * at)), np.minimum(0.95, beta1 + 0.05) - 0.1 * np.sin(np.pi * at)
    if name == "random":
        return lr * 10 ** rng.uniform(-2, 0, n), np.full(n, beta1)
    return np.full(n, lr), np.full(n, beta1)


def run(optimizer, table, steps, lrs, beta1s, beta2, as_dense=False):
    for (rows, grad), lr, beta1 in zip(steps, lrs, beta1s, strict=True):
        for group in optimizer.param_groups:
            group["lr"], group["betas"] = float(lr), (float(beta1), beta2)
        if as_dense:
            table.weight.grad = dense(rows, grad, len(table.weight))
        else:
            optimizer.zero_grad()
            backward(table, rows, grad)
        optimizer.step()


@given(
    name=st.sampled_from(["constant", "warm-up and cosine", "one cycle", "random"]),
    lr=st.sampled_from([1e-3, 1e-2]),
    betas=st.sampled_from([(0.9, 0.999), (0.8, 0.99), (0.85, 0.95), (0.9, 0.9999), (0.1, 0.999)]),
    eps=st.sampled_from([1e-8, 1e-4, 1e-12, 1.0]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    scale=st.sampled_from([1.0, 1e-6]),
    kernels=st.sampled_from(["torch", "numba"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_adam_by_rows_is_adam(name, lr, betas, eps, weight_decay, scale, kernels, seed):
    """The error against dense Adam in float64 is at most twice that of torch's Adam in float32, plus 1e-6 of the mean update."""
    steps = make_gradients(N_STEP, seed=seed, scale=scale)
    lrs, beta1s = schedule(name, N_STEP, lr, betas[0], np.random.default_rng(seed))
    ours, theirs = make_table(seed=seed), make_table(seed=seed)
    start = ours.weight.detach().numpy().copy()
    with use_kernels(kernels):
        optimizer = AdamW(ours.parameters(), eps=eps, weight_decay=weight_decay)
        run(optimizer, ours, steps, lrs, beta1s, betas[1])
        assert ours.owner is not None
        optimizer.detach()
    run(torch.optim.AdamW(theirs.parameters(), eps=eps, weight_decay=weight_decay), theirs, steps, lrs, beta1s, betas[1], as_dense=True)
    grads = [dense(rows, grad, len(start)).double().numpy() for rows, grad in steps]
    exact = dense_adam(start, grads, lrs, [(b, betas[1]) for b in beta1s], eps, weight_decay)
    moved = np.abs(exact - start).mean()
    error, theirs_error = (np.abs(table.weight.detach().numpy() - exact).mean() for table in (ours, theirs))
    assert error <= 2 * theirs_error + 1e-6 * moved


@pytest.mark.parametrize("kernels", ["torch", "numba"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_rows_without_gradients_for_any_gap_have_the_weights_of_adam(kernels, weight_decay):
    """Rows that are read until step 1, 5 and 400 and then after gaps of 1, 2, 7, 60 and 1000 steps; another row is read at every step."""
    lefts, n = [1, 5, 400], 400 + 1072
    reads = [{left + gap for gap in np.cumsum([1, 2, 7, 60, 1000])} | set(range(1, left + 1)) for left in lefts] + [set(range(1, n + 1))]
    rng, steps = np.random.default_rng(0), []
    for t in range(1, n + 1):
        rows = torch.tensor([row for row, of_row in enumerate(reads) if t in of_row])
        steps.append((rows, torch.from_numpy(rng.normal(size=(len(rows), 3)).astype(np.float32))))
    table = make_table(4)
    start = table.weight.detach().numpy().copy()
    with use_kernels(kernels):
        optimizer = AdamW(table.parameters(), weight_decay=weight_decay)
        run(optimizer, table, steps, [1e-3] * n, [0.9] * n, 0.999)
        optimizer.detach()
    exact = dense_adam(start, [dense(*s, 4).double().numpy() for s in steps], [1e-3] * n, [(0.9, 0.999)] * n, 1e-8, weight_decay)
    np.testing.assert_allclose(table.weight.detach().numpy()[:3], exact[:3], rtol=1e-5, atol=5e-7)


def test_gaps_of_a_hundred_thousand_steps_are_exact():
    """The running sums equal the sum over all missed steps after 10 to 100,000 steps, for any second moment."""
    beta1, beta2, eps, lr, t0, n = 0.5, 0.98, 1e-8, 1e-3, 3, 100_000
    missed = MissedSteps(0, beta1, beta2, eps)
    k, v = np.arange(1, n + 1), np.array([1e-30, 1e-12, 1e-6, 1.0])[:, None]
    correction = np.sqrt(-np.expm1((t0 + k) * np.log(beta2)))
    root = np.sqrt(v) * np.exp(k / 2 * np.log(beta2))
    moves = lr / (1 - beta1 ** (t0 + k)) * np.exp(k * np.log(beta1)) / (root / correction + eps)
    expected = moves.cumsum(1)
    for t in range(1, t0 + n + 1):
        missed.append(lr, beta1)
        if t - t0 in (10, 100, 1000, 10_000, n):
            result = [-missed.one_row(t0, 0.0, 1.0, x)[0] for x in v[:, 0]]
            np.testing.assert_allclose(result, expected[:, t - t0 - 1], rtol=1e-7)


def test_sums_are_exact_when_they_are_reallocated_and_rates_are_random():
    """A thousand random learning rates and beta1 after step 500, compared with a loop over the steps in float64."""
    rng = np.random.default_rng(1)
    missed = MissedSteps(500, 0.9, 0.999, 1e-8)
    lrs, beta1s = 10 ** rng.uniform(-5, -2, 1000), rng.uniform(0.7, 0.95, 1000)
    for lr, beta1 in zip(lrs, beta1s, strict=True):
        missed.append(lr, beta1, 1 - 0.1 * lr)
    for t0 in (500, 700, 1200, 1490):
        w, m, v = 1.0, 0.1, 0.01
        for s in range(t0 + 1, 1501):
            lr, beta1 = lrs[s - 501], beta1s[s - 501]
            m, v = m * beta1, v * 0.999
            w = w * (1 - 0.1 * lr) - lr / (1 - beta1**s) * m / (np.sqrt(v / (1 - 0.999**s)) + 1e-8)
        result = missed.one_row(t0, 1.0, 0.1, 0.01)
        np.testing.assert_allclose(result[0] - 1.0, w - 1.0, rtol=2e-6)
        np.testing.assert_allclose(result[1:], (m, v), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("change", [{"betas": (0.9, 0.99)}, {"eps": 1e-3}, {"betas": (0.97, 0.999)}])
def test_a_change_of_beta2_or_eps_or_a_higher_beta1_stays_exact(change):
    """Constants that the running sums do not accept start new sums, and the weights are those of Adam."""
    steps, ours, theirs = make_gradients(300), make_table(), make_table()
    adam, torchs = Adam(ours.parameters(), lr=1e-2), torch.optim.Adam(theirs.parameters(), lr=1e-2)
    for t, (rows, grad) in enumerate(steps):
        if t in (100, 110):
            adam.param_groups[0].update(change)
            torchs.param_groups[0].update(change)
        adam.zero_grad()
        backward(ours, rows, grad)
        adam.step()
        theirs.weight.grad = dense(rows, grad, 12)
        torchs.step()
    adam.detach()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kernels", ["torch", "numba"])
@pytest.mark.parametrize("middle", [7, 150])
@pytest.mark.parametrize("adam", [Adam, AdamW])
def test_saving_and_loading_in_the_middle_changes_no_bit(kernels, middle, adam):
    """A run that is saved, loaded into a new optimizer without unpickling code, and continued gives the same bits as one that is not."""
    steps, straight, table = make_gradients(300), make_table(), make_table()
    with use_kernels(kernels):
        uninterrupted = adam(straight.parameters(), lr=1e-2)
        run(uninterrupted, straight, steps[:middle], [1e-2] * middle, [0.9] * middle, 0.999)
        file = io.BytesIO()
        torch.save(uninterrupted.state_dict(), file)
        file.seek(0)
        run(uninterrupted, straight, steps[middle:], [1e-2] * (300 - middle), [0.9] * (300 - middle), 0.999)
        resumed = adam(table.parameters(), lr=1e-2)
        resumed.load_state_dict(torch.load(file, weights_only=True))
        run(resumed, table, steps[middle:], [1e-2] * (300 - middle), [0.9] * (300 - middle), 0.999)
    assert not resumed.state_dict()["state"][0]["lag"]["last"].eq(300).all()
    assert torch.equal(straight.weight, table.weight)
    assert torch.equal(straight.owner.peek(slice(None)), table.owner.peek(slice(None)))
    uninterrupted.detach(), resumed.detach()
    assert torch.equal(straight.weight, table.weight)


def test_parameter_groups_have_separate_learning_rates():
    """Two tables and a layer in three groups are trained as by torch's Adam with the same groups."""
    results = []
    for kind in (Adam, torch.optim.Adam):
        tables, layer = [make_table(seed=1), make_table(seed=2)], torch.nn.Linear(3, 1)
        torch.nn.init.ones_(layer.weight)
        groups = [{"params": tables[0].parameters(), "lr": 1e-1}, {"params": tables[1].parameters(), "betas": (0.5, 0.9)}]
        optimizer = kind([*groups, {"params": layer.weight, "weight_decay": 0.1}], lr=1e-2)
        for rows, grad in make_gradients(100):
            optimizer.zero_grad()
            layer((tables[0](rows) - tables[1](rows)) * grad).square().sum().backward()
            optimizer.step()
        if kind is Adam:
            optimizer.detach()
        results.append([tables[0].weight, tables[1].weight, layer.weight])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("build", [torch.optim.lr_scheduler.OneCycleLR, torch.optim.lr_scheduler.CyclicLR])
def test_schedulers_of_torch_work(build):
    """OneCycleLR and CyclicLR, which cycle beta1, give the weights of torch's Adam, and the running sums are never restarted."""
    results = []
    for kind in (Adam, torch.optim.Adam):
        table = make_table()
        optimizer = kind(table.parameters(), lr=1e-2)
        options = {"total_steps": 200} if build is torch.optim.lr_scheduler.OneCycleLR else {"base_lr": 1e-3, "step_size_up": 20}
        scheduler = build(optimizer, max_lr=1e-2, **options)
        for rows, grad in make_gradients(200):
            optimizer.zero_grad()
            backward(table, rows, grad)
            optimizer.step()
            scheduler.step()
        if kind is Adam:
            assert table.owner.missed.start == 0
            optimizer.detach()
        results.append(table.weight)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)
