"""Tomorrow's tasks in two processes: what one process does with the batches of both, with the same bits on both ranks."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tasks import TASKS, loaders_of, trainer_of

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The folder with the results of both ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(HERE / "seam_worker.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run([*command, str(folder)], env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def results_of(ranks, rank):
    return torch.load(ranks / f"rank-{rank}.pth", weights_only=True)


def test_two_ranks_end_with_equal_bits(ranks):
    """Weights, what is learned besides them, buffers, losses and metrics are the same on both ranks, also under a gradient balancer."""
    first, second = results_of(ranks, 0), results_of(ranks, 1)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("task", [name for name in TASKS if name != "two towers"])
def test_two_ranks_do_what_one_process_does(task, ranks):
    """Two ranks with half of each batch end where one process with the whole batches ends, to float64 rounding."""
    trainer = trainer_of(task, accumulate=2, n_epoch=2)
    trainer.fit(*loaders_of(task))
    expected = dict((*trainer.objective.named_parameters(), *trainer.objective.named_buffers()))
    expected["loss"] = torch.tensor(trainer.history["loss"], dtype=torch.float64)
    results = results_of(ranks, 0)
    for name, value in expected.items():
        torch.testing.assert_close(results[f"{task}/{name}"], value.detach(), rtol=1e-7, atol=1e-9, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stream_without_a_length_is_refused_on_two_ranks(rank, ranks):
    """Ranks that do not know the number of batches would wait for each other."""
    assert "the training loader has no length" in (ranks / f"refused-{rank}.txt").read_text()


def test_an_overridden_evaluate_gets_all_rows_on_two_ranks(ranks):
    """The one number of a user's function cannot be put together from parts."""
    assert results_of(ranks, 0)["odd rows/counted"].tolist() == [25]


def test_a_buffer_that_no_step_changes_keeps_its_bits_on_two_ranks(ranks):
    """Only what the forward passes changed is averaged, and a rank without rows adds nothing, not 0 times infinity."""
    assert results_of(ranks, 0)["odd rows/mask"].tolist() == [0, -math.inf]
