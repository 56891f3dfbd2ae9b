"""Compares our training step with a plain torch loop of the same mathematics, and fails where the ratio exceeds its committed bound.

    python -m benchmarks.guard [--rounds N] [--steps N] [--write]

Both alternate in one process: an epoch of ``CTRTrainer.fit`` with all callbacks, then the same rows in the plain loop. The result
is the median over rounds of the ratio of their CPU times on one thread, so that other load affects both. 100,000 rows of
vocabulary, batch 2048, with Adam and with Adam's coupled weight decay. Processors where our linear layers take oneDNN have bounds of their
own. ``--write`` commits the ratios of this run as the new bounds.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.guard.reference import PlainDeepFM, train
from torch_rechub.basic.callback import Callback
from torch_rechub.basic.layers.dense import one_dnn_is_faster
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import Clicks, make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, Trainer

BOUNDS = Path(__file__).with_name("bounds.json")
SLACK = 1.2  #: runs differ by a few per cent; a regression that matters is larger
BATCH, VOCAB, N_SETTLING = 2048, 100_000, 2
CASES = {"adam": 0.0, "adam with weight decay": 1e-5}


class TakeTurns(Callback):
    """Runs the plain loop before each of our epochs, and measures both."""

    def __init__(self, clicks: Clicks, decay: float) -> None:
        ids = torch.stack([torch.from_numpy(clicks.x[name]).long() for name in clicks.vocab_sizes], 1)
        dense = torch.stack([torch.from_numpy(values) for name, values in clicks.x.items() if name not in clicks.vocab_sizes], 1)
        self.batches = list(zip(*(tensor.split(BATCH) for tensor in (ids, dense, torch.from_numpy(clicks.y))), strict=True))
        self.model = PlainDeepFM(list(clicks.vocab_sizes.values()), dense.shape[1])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, weight_decay=decay)
        self.rounds: list[tuple[float, float]] = []

    def on_epoch_begin(self, trainer: Trainer) -> None:
        start = time.process_time()
        train(self.model, self.optimizer, self.batches)
        self.plain, self.start = time.process_time() - start, time.process_time()

    def on_epoch_end(self, trainer: Trainer) -> None:
        self.rounds.append((time.process_time() - self.start, self.plain))


def measure(decay: float, n_round: int, n_step: int) -> dict[str, float]:
    """Milliseconds of a step, ours and plain, and the median of the ratios."""
    torch.manual_seed(0)
    clicks = make_clicks(n_step * BATCH, 13, 26, VOCAB)
    dense, sparse = clicks.feature_columns(16)
    model = DeepFM([*sparse, *dense], sparse, {"dims": [256, 128], "dropout": 0.2})
    loader, _, _ = DataGenerator(clicks.x, clicks.y).generate_dataloader(batch_size=BATCH)
    turns = TakeTurns(clicks, decay)
    params = {"lr": 1e-3, "weight_decay": decay}
    CTRTrainer(model, optimizer_params=params, n_epoch=N_SETTLING + n_round, model_path=None, progress=False, callbacks=[turns]).fit(loader)
    counted = turns.rounds[N_SETTLING:]
    ours, plain = ([1e3 * each[number] / n_step for each in counted] for number in (0, 1))
    ratio = statistics.median(ours_time / plain_time for ours_time, plain_time in counted)
    return {"ours_ms": round(statistics.median(ours), 1), "plain_ms": round(statistics.median(plain), 1), "ratio": round(ratio, 3)}


def verdict(results: dict[str, Any], committed: dict[str, float]) -> list[str]:
    """The cases that have become too slow, in words."""
    return [
        f"{name}: our step takes {figures['ratio']:.3f} of the plain loop's; the committed ratio is {committed[name]:.3f}, "
        f"so at most {committed[name] * SLACK:.3f} is allowed. Find what became slower, or commit the new ratio with --write."
        for name, figures in results.items()
        if figures["ratio"] > committed[name] * SLACK
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # it trains without validation
    results = {name: measure(decay, options.rounds, options.steps) for name, decay in CASES.items()}
    for name, figures in results.items():
        print(f"{name}: ours {figures['ours_ms']} ms, plain loop {figures['plain_ms']} ms, ratio {figures['ratio']:.3f}")
    kind, bounds = "oneDNN" if one_dnn_is_faster() else "MKL", json.loads(BOUNDS.read_text())
    if options.write:
        bounds[kind] = {name: figures["ratio"] for name, figures in results.items()}
        BOUNDS.write_text(json.dumps(bounds, indent=1) + "\n")
    if slower := verdict(results, bounds[kind]):
        sys.exit("\n".join(slower))


if __name__ == "__main__":
    main()
