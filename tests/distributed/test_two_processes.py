"""Laws of several processes: two of them, started by torchrun, train as one, decide alike, and end together."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
import worker

from torch_rechub.data import TableLoader
from torch_rechub.data.order import BatchOrder

HERE = Path(__file__).parent
LIMIT = 120  # seconds after which a launch counts as hung


def launch(scenario: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run two processes by torchrun, which have ended afterwards in any case."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(HERE / "worker.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "PYTHONPATH": str(HERE.parents[1])}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([*command, scenario, str(folder)], stdout=output, stderr=output, env=environment, start_new_session=True)
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        text = output.read()
    assert status is not None, f"hung:\n{text}"
    return subprocess.CompletedProcess(command, status, text)


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The results of both processes for the scenario "laws", which runs once for all tests and all test workers."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "two_processes"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "output").exists():
            done = launch("laws", folder)
            (folder / "output").write_text(f"status {done.returncode}\n{done.stdout}")
    output = (folder / "output").read_text()
    assert output.startswith("status 0\n"), output
    assert "Warning" not in output, output
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", worker.SETTINGS)
def test_two_processes_equal_one(name: str, ranks: list[dict]):
    """Two processes with half the batch each give the weights and the history of one with the complete batch, to rounding."""
    weights, history, _ = worker.as_one(name)
    weights_of_two, records, _ = ranks[0]["as one"][name]
    for key, value in weights.items():
        torch.testing.assert_close(torch.tensor(weights_of_two[key]), torch.tensor(value), rtol=1e-5, atol=1e-6)
    assert [record["rows"] for record in records] == [record["rows"] for record in history]
    for record, expected in zip(records, history, strict=True):
        assert record.keys() == expected.keys()
        for what in ("loss", "auc", "logloss"):
            assert record[what] == pytest.approx(expected[what], rel=1e-4), what


@pytest.mark.parametrize("name", worker.SETTINGS)
def test_two_processes_hold_the_same_bits(name: str, ranks: list[dict]):
    """Weights, statistics and history are the same in both processes, bit for bit."""
    first, second = (rank["as one"][name] for rank in ranks)
    assert first == second


def test_two_processes_resume_bit_for_bit(ranks: list[dict]):
    """A run with dropout and batch norm that one process pauses, or that gets a signal, resumes bit for bit."""
    for rank in ranks:
        runs, digests = rank["interrupted"], rank["digests"]
        assert len(set(digests.values())) == 1
        assert runs["pause at"] == [3, None]
        assert runs["signal at"] == [4, 128 + signal.SIGTERM]
        assert runs["pause"] == runs["signal"] == runs["uninterrupted"]
    assert ranks[0]["digests"] == ranks[1]["digests"]


def test_two_processes_decide_alike(ranks: list[dict]):
    """A request of one process takes effect in both; of metrics that differ, that of rank 0 counts; one process logs."""
    first, second = (rank["requests"] for rank in ranks)
    assert (first.pop("calls"), second.pop("calls")) == (["begin", "end"], [])
    assert first == second
    assert first["stopped"][:2] == [3, "rank 1 says so"]
    assert first["validated"] == [2, 7, 14]
    assert first["differing"][0] == [worker.N_VAL, worker.N_VAL - 10]


def test_two_processes_read_a_foreign_loader_by_its_sampler(ranks: list[dict]):
    """torch's DistributedSampler gets the epoch, all rows count once, and both processes have the metric of all rows."""
    first, second = (rank["foreign"] for rank in ranks)
    assert first == second
    assert first["rows"] == [48, 96]
    assert first["epoch"] == 1


def test_two_processes_refuse_different_settings(ranks: list[dict]):
    """Settings that differ between the processes are an error in both, which names them."""
    for rank in ranks:
        assert "clip_norm (trainer) is 1.0 on rank 0 and 2.0 on rank 1" in rank["refused"]


def test_two_processes_end_together_when_a_save_fails(tmp_path: Path):
    """A full disk on rank 0 ends both processes with its message."""
    launch("full", tmp_path)
    first, second = ((tmp_path / f"rank-{rank}.txt").read_text() for rank in (0, 1))
    assert first.startswith("OSError: [Errno 28] No space left on device")
    assert second == f"RuntimeError: rank 0 ended the run by {first}"


def test_two_processes_end_together_when_one_is_killed(tmp_path: Path):
    """Where one process is killed, the other ends with a message, and model.pth exists."""
    done = launch("killed", tmp_path)
    assert done.returncode != 0
    assert (tmp_path / "rank-0.txt").read_text().startswith("RuntimeError: another rank of this job ended, or did not answer in time")
    assert (tmp_path / "model.pth").exists()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n_row", [4, 7, 24, 25, 26, 31, 48])
@pytest.mark.parametrize("n_rank", [1, 2, 3, 4])
def test_shares_make_up_the_batches_of_one_process(n_row: int, n_rank: int, shuffle: bool):
    """Together, the shares of all ranks are the batch of one process; a rank without a row in the last one gets a substitute."""
    single = BatchOrder(n_row, 4 * n_rank, shuffle, seed=5, drop_last=False)
    parts = [BatchOrder(n_row, 4, shuffle, seed=5, drop_last=False) for _ in range(n_rank)]
    for rank, part in enumerate(parts):
        part.rank, part.n_rank = rank, n_rank
    assert {len(part) for part in parts} == {len(single)}
    rows = torch.arange(n_row)
    for i, (expected, *shares) in enumerate(zip(single, *parts, strict=True)):
        picked = [rows[share].tolist() for share in shares]
        assert all(0 < len(part) <= 4 for part in picked)
        assert all(set(part) <= set(rows[expected].tolist()) for part in picked)
        counted = [part for part, order in zip(picked, parts, strict=True) if not (i == len(single) - 1 and order.repeats_row)]
        assert [row for part in counted for row in part] == rows[expected].tolist()


def test_shares_for_evaluation_are_all_rows_in_order():
    """For evaluation each process reads a contiguous part, and together the parts are the stored order."""
    train, _ = worker.loaders()
    labels = [y for rank in range(3) for _, y in train.in_order(rank, 3)]
    assert torch.equal(torch.cat(labels), train.table.y)


def test_shares_need_a_row_for_each_process():
    """More processes than rows are an error."""
    train, _ = worker.loaders()
    few = TableLoader(train.table.take(slice(0, 2)), 1)
    with pytest.raises(ValueError, match="Each of 3 processes needs at least one row; there are 2"):
        few.share(0, 3)
