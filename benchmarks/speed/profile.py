"""Where the time of our training step is spent: by torch's profiler, and for the step with each kind of row kernels.

python -m benchmarks.speed.profile [--vocab 100k] [--kernels numba torch]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.profiler import ProfilerActivity, profile

from torch_rechub.data import DataGenerator
from torch_rechub.datasets import make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.optim import use_kernels
from torch_rechub.trainers import CTRTrainer

N_STEP, BATCH = 60, 2048


def trainer_and_loader(clicks) -> tuple[CTRTrainer, object]:
    """The model of all speed benchmarks, warmed up by one epoch."""
    torch.manual_seed(0)
    dense, sparse = clicks.feature_columns(16)
    model = DeepFM([*dense, *sparse], sparse, {"dims": [256, 128], "dropout": 0.2})
    loader = DataGenerator(clicks.x, clicks.y).generate_dataloader(batch_size=BATCH, seed=1)[0]
    trainer = CTRTrainer(model, model_path=None, progress=False)
    trainer.train_one_epoch(loader)
    return trainer, loader


def main() -> None:
    from benchmarks.speed.__main__ import count

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=count, default=100_000)
    parser.add_argument("--kernels", nargs="+", default=["numba", "torch"], choices=["numba", "torch"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    clicks = make_clicks(N_STEP * BATCH, vocab_size=options.vocab)
    for kernels in (*options.kernels, *options.kernels):  # alternating, twice
        with use_kernels(kernels):
            trainer, loader = trainer_and_loader(clicks)
            began = time.process_time()
            trainer.train_one_epoch(loader)
            print(
                f"{options.vocab:,} rows, {kernels} kernels: {(time.process_time() - began) / N_STEP * 1e3:.1f} CPU ms a step", flush=True
            )
    with use_kernels(options.kernels[0]):
        trainer, loader = trainer_and_loader(clicks)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            trainer.train_one_epoch(loader)
    for row in sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)[:25]:
        print(f"{row.self_cpu_time_total / 1e3 / N_STEP:8.3f} ms a step  {row.count / N_STEP:5.1f} calls  {row.key}")


if __name__ == "__main__":
    main()
