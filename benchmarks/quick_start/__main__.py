"""Seconds of one epoch of a quick start, by batch size and by threads: ``python -m benchmarks.quick_start``.

Each line is the median of several epochs, each in a process of its own, measured in turn (A B A B). "Busy" means that as many other
processes as there are cores compute meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

CHILD = """
import sys, time, torch
n_thread, batch_size, n_row = map(int, sys.argv[1:])
if n_thread:
    torch.set_num_threads(n_thread)
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer
clicks = make_clicks(n_row, n_dense=5, n_sparse=10, vocab_size=1000)
dense, sparse = clicks.feature_columns(embed_dim=8)
torch.manual_seed(0)
model = DeepFM([*dense, *sparse], sparse, {"dims": [128, 64], "dropout": 0.2})
train, _, _ = DataGenerator(clicks.x, clicks.y).generate_dataloader(batch_size=batch_size, seed=0)
trainer = CTRTrainer(model, n_epoch=1, model_path=None, progress=False)
trainer.train_one_epoch(list(train)[:3])
start = time.perf_counter()
trainer.train_one_epoch(train)
print(time.perf_counter() - start)
"""
BUSY = "while True: sum(range(10_000))"


def seconds(n_thread: int, batch_size: int, n_row: int) -> float:
    """One epoch in a process of its own; 0 threads leaves torch's default."""
    arguments = [str(each) for each in (n_thread, batch_size, n_row)]
    environment = {name: value for name, value in os.environ.items() if name not in {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout)


def compare(title: str, first: tuple[int, int], other: tuple[int, int], n_row: int, n_round: int) -> None:
    """Two settings of (threads, batch size) in turn."""
    taken: dict[tuple[int, int], list[float]] = {first: [], other: []}
    for _ in range(n_round):
        for setting, each in taken.items():
            each.append(seconds(*setting, n_row))
    one, two = (statistics.median(taken[setting]) for setting in (first, other))
    print(f"{title:<58} {one:7.2f} s {two:7.2f} s   x{one / two:.1f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    n_core = os.cpu_count() or 1
    compare("batch size 16 against 1024, one thread", (1, 16), (1, 1024), given.rows, given.rounds)
    compare(f"torch's threads against 1, batch 256, {n_core} idle cores", (0, 256), (1, 256), given.rows, given.rounds)
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_core)]
    try:
        compare(f"torch's threads against 1, batch 256, {n_core} busy cores", (0, 256), (1, 256), given.rows, given.rounds)
    finally:
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
