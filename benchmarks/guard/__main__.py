"""Holds our training step against a plain torch loop of the same mathematics, and fails when the ratio passes its committed bound.

    python -m benchmarks.guard [--rounds N] [--steps N] [--write]

Both take turns in one process: an epoch of ``CTRTrainer.fit`` with all callbacks, then the same rows in the plain loop. What is compared
is CPU time on one thread, round by round, and of the ratios the median; what the machine does besides meets both. 100,000 rows of
vocabulary, batch 2048, with Adam and with Adam's coupled weight decay. Processors where our linear layers take oneDNN have bounds of their
own. ``--write`` makes the ratios found now those to hold.
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
SLACK = 1.2  #: a run differs from the next by a few parts in a hundred; a regression worth the name is more
BATCH, VOCAB, N_SETTLING = 2048, 100_000, 2
CASES = {"adam": 0.0, "adam with weight decay": 1e-5}


class TakeTurns(Callback):
    """Before each of our epochs the plain loop has its turn; both are timed."""

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
    ratio = statistics.median(mine / its for mine, its in counted)
    return {"ours_ms": round(statistics.median(ours), 1), "plain_ms": round(statistics.median(plain), 1), "ratio": round(ratio, 3)}


def verdict(found: dict[str, Any], committed: dict[str, float]) -> list[str]:
    """What has become too slow, in words."""
    return [
        f"{name}: our step takes {own['ratio']:.3f} of the plain loop's; the committed ratio is {committed[name]:.3f}, "
        f"so at most {committed[name] * SLACK:.3f} is allowed. Find what became slower, or commit the new ratio with --write."
        for name, own in found.items()
        if own["ratio"] > committed[name] * SLACK
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # it trains without validation
    found = {name: measure(decay, asked.rounds, asked.steps) for name, decay in CASES.items()}
    for name, own in found.items():
        print(f"{name}: ours {own['ours_ms']} ms, plain loop {own['plain_ms']} ms, ratio {own['ratio']:.3f}")
    kind, bounds = "oneDNN" if one_dnn_is_faster() else "MKL", json.loads(BOUNDS.read_text())
    if asked.write:
        bounds[kind] = {name: own["ratio"] for name, own in found.items()}
        BOUNDS.write_text(json.dumps(bounds, indent=1) + "\n")
    if slower := verdict(found, bounds[kind]):
        sys.exit("\n".join(slower))


if __name__ == "__main__":
    main()
