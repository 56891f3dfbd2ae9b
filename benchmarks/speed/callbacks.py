"""The cost of the built-in callbacks: one fit whose steps alternate between all of them and none.

    python -m benchmarks.speed.callbacks [--vocab 100k] [--batch 2048] [--epochs N] [--out FILE]

Steps with and without callbacks alternate in one process and one model, so that nothing but the callbacks differs. CPU time, one thread,
medians. Their work at a validation, the copy of the best weights and the writing of ``model.pth``, is a separate figure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.__main__ import RESULTS, count
from torch_rechub.basic.callback import Callback
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, Trainer

STEPS, SETTLING = 50, 4  #: steps of an epoch; epochs that do not count


class Improving(Callback):
    """Makes every validation a new best, so that its weights are copied and written."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        stopper = trainer.early_stopper
        stopper.load_state_dict({**stopper.state_dict(), "decisions": []})


class Clock:
    """Replaces the calls of callbacks: it omits those of every second batch, and measures steps, decisions and new bests."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.call_all = trainer, trainer.callbacks.call
        trainer.callbacks.call = self.call
        self.steps: dict[bool, list[float]] = {True: [], False: []}
        self.keeping: list[float] = []
        self.number, self.began, self.deciding = 0, 0.0, 0.0

    def call(self, hook: str) -> None:
        now = time.process_time()
        if hook == "on_batch_begin":
            if self.trainer.state.batch and self.trainer.state.epoch >= SETTLING:
                self.steps[self.with_callbacks].append(now - self.began)
            self.number, self.began = self.number + 1, now
        if self.with_callbacks or ("batch" not in hook and "backward" not in hook):
            self.call_all(hook)
        if hook == "decide":
            self.deciding = time.process_time() - now
        if hook == "on_new_best":
            self.keeping.append(self.deciding + time.process_time() - now)

    @property
    def with_callbacks(self) -> bool:
        return self.number % 2 == 0


def measure(vocab: int, batch: int, n_epoch: int) -> dict[str, Any]:
    """Milliseconds of a step with callbacks and of one without, and of keeping the best weights at a validation."""
    torch.manual_seed(0)
    clicks = make_clicks(round(1.25 * STEPS) * batch, 13, 26, vocab)
    dense, sparse = clicks.feature_columns(16)
    model = DeepFM([*sparse, *dense], sparse, {"dims": [256, 128], "dropout": 0.2})
    train, val, _ = DataGenerator(clicks.x, clicks.y).generate_dataloader(split_ratio=[0.8, 0.2], batch_size=batch)
    with tempfile.TemporaryDirectory() as folder:
        trainer = CTRTrainer(model, n_epoch=SETTLING + n_epoch, earlystop_patience=None, model_path=folder, callbacks=[Improving()])
        clock = Clock(trainer)
        trainer.fit(train, val)
    full, bare = (1e3 * statistics.median(clock.steps[kind]) for kind in (True, False))
    counts = {"vocab": vocab, "batch": batch, "n_step": len(clock.steps[True])}
    return {**counts, "step_ms": full, "bare_ms": bare, "ratio": full / bare, "keep_ms": 1e3 * statistics.median(clock.keeping)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=count, default=100_000)
    parser.add_argument("--batch", type=count, default=2048)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS / "callbacks.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(options.vocab, options.batch, options.epochs)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(
        f"step with all callbacks {figures['step_ms']:.3f} CPU ms, without {figures['bare_ms']:.3f}: {100 * (figures['ratio'] - 1):+.2f} %"
    )
    print(f"keeping the best weights in memory and on disk: {figures['keep_ms']:.1f} CPU ms a validation")


if __name__ == "__main__":
    main()
