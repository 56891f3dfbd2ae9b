"""Both implementations of the kernels give the same rows and, to float32 rounding, the same numbers."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from adam_oracle import backward, make_gradients, make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_rechub.kernels import AdamStep, kernels_for, numba_cpu, torch_any
from torch_rechub.kernels.missed import MissedSteps
from torch_rechub.optim import AdamW, clip_grad_norm_, use_kernels

PATHS = [torch_any, numba_cpu]


@given(rows=st.lists(st.integers(0, 30), max_size=60), seed=st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_unique_gather_and_accumulate_agree_with_numpy(rows, seed):
    """Distinct rows are ascending, with the position of each row, for any content of the scratch memory; gather and sum use them."""
    requested = torch.tensor(rows, dtype=torch.int64)
    slot = torch.from_numpy(np.random.default_rng(seed).integers(0, 40, 31).astype(np.int32))
    weight, grad = torch.randn(31, 5), torch.randn(len(rows), 5)
    expected, positions = np.unique(np.array(rows, dtype=np.int64), return_inverse=True)
    sums = np.zeros((len(expected), 5))
    np.add.at(sums, positions, grad.numpy())
    for path in PATHS:
        distinct, inverse = path.unique(requested, slot)
        assert distinct.tolist() == expected.tolist()
        assert inverse.tolist() == positions.tolist()
        assert torch.equal(path.gather(weight, requested), weight[requested])
        np.testing.assert_allclose(path.accumulate(grad, inverse, len(distinct)).numpy(), sums, atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("wrong", [-1, 31])
def test_rows_outside_the_table_are_an_error(path, wrong):
    """A row outside the table raises an error; no other memory is read."""
    with pytest.raises(IndexError, match=f"rows must be >= 0 and < 31.*{wrong}"):
        path.unique(torch.tensor([3, wrong]), torch.zeros(31, dtype=torch.int32))


@pytest.mark.parametrize("decay", [1.0, 0.999])
def test_catch_up_and_update_agree(decay):
    """The implementations agree for rows with many different last steps, and rows that are not requested do not change."""
    missed = MissedSteps(40, 0.9, 0.999, 1e-8)
    for s in range(900):
        missed.append(1e-3 * (1 + s % 3), 0.9, decay)
    torch.manual_seed(0)
    start = [
        torch.randn(60, 16),
        torch.randn(60, 16) * 1e-3,
        torch.rand(60, 16) ** 8 * 1e-5,
        torch.randint(40, 941, (60,), dtype=torch.int32),
    ]
    start[3][:5] = missed.now
    rows, grad = torch.arange(0, 60, 2), torch.randn(30, 16)
    results = []
    for path in PATHS:
        w, m, v, last = (tensor.clone() for tensor in start)
        path.adam_catch_up(w, m, v, last, rows, missed)
        assert torch.equal(w[1::2], start[0][1::2])
        assert torch.equal(w[[0, 2, 4]], start[0][[0, 2, 4]])
        assert (last[::2] == missed.now).all()
        path.adam_update(w, m, v, last, rows, grad, AdamStep(missed.now + 1, 1e-2, 0.9, 0.999, 1e-8, decay))
        results.append((w, m, v, last))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=1e-9)


def test_runs_with_both_implementations_agree():
    """Three hundred steps with both implementations give the same weights."""
    ends = []
    for choice in ("torch", "numba"):
        table = make_table()
        with use_kernels(choice):
            optimizer = AdamW(table.parameters(), lr=1e-2)
            for rows, grad in make_gradients(300):
                optimizer.zero_grad()
                backward(table, rows, grad)
                optimizer.step()
            optimizer.detach()
        ends.append(table.weight)
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


def test_the_choice_of_kernels_holds_until_the_end_of_with():
    """The choice ends with the ``with`` block, and "auto" selects the compiled kernels for float32 on the CPU only."""
    table = torch.zeros(2, 2)
    with use_kernels("torch"):
        assert kernels_for(table) is torch_any
        with use_kernels("numba"):
            assert kernels_for(table) is numba_cpu
        assert kernels_for(table) is torch_any
    assert kernels_for(table) is numba_cpu
    assert kernels_for(table.double()) is torch_any
    with pytest.raises(ValueError, match="must be 'auto', 'torch' or 'numba'"):
        use_kernels("fast")


def test_without_numba_torch_is_used_and_the_error_names_the_command():
    """Without numba the torch kernels are used, and use_kernels("numba") raises an error that tells how to install it."""
    code = """
import importlib.util as util, sys
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "numba" else find(name, *rest)
import torch
from torch_rechub.kernels import kernels_for, use_kernels
assert kernels_for(torch.zeros(2, 2)).__name__.endswith("torch_any")
assert "numba" not in sys.modules
try:
    use_kernels("numba")
except ImportError as error:
    assert "Install it with: pip install numba." in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_second_process_loads_the_compiled_kernels_from_disk():
    """A new process loads the kernels that an earlier process compiled."""
    code = """
import torch
from torch_rechub.kernels import numba_cpu
numba_cpu.unique(torch.tensor([1, 0, 1]), torch.zeros(3, dtype=torch.int32))
print(sum(numba_cpu._distinct_rows.stats.cache_hits.values()))
"""
    numba_cpu.unique(torch.tensor([1, 0, 1]), torch.zeros(3, dtype=torch.int32))
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "1"


def test_a_step_reads_no_number_back_from_the_device(monkeypatch):
    """optimizer.step() never converts a tensor to a number, which would wait for a GPU: each such conversion raises here."""

    def refuse(*_):
        raise AssertionError("a number was read back")

    table, layer = make_table(), torch.nn.Linear(3, 1)
    with use_kernels("torch"):
        optimizer = AdamW([*table.parameters(), *layer.parameters()], lr=1e-2)
        for rows, grad in make_gradients(5):
            optimizer.zero_grad()
            layer(table(rows) * grad).sum().backward()
            with monkeypatch.context() as patch:
                for name in ("item", "tolist", "numpy", "__int__", "__float__", "__bool__", "__index__"):
                    patch.setattr(torch.Tensor, name, refuse)
                clip_grad_norm_([*table.parameters(), *layer.parameters()], 1.0)
                optimizer.step()
    assert optimizer.state[table.weight]["step"] == 5
