"""Trains DIN and BST, and the same network with the mean of the histories, on MovieLens-100K split by time; prints test AUC and log loss.

    python -m benchmarks.sequences [--data FOLDER] [--seeds 1 2 3] [--write]

Each rating is a row of label 1, and has one of label 0 with a film that the user has not rated up to then. The histories are the latest
50 films that the user rated before (their ids, their first genres). The first 80 % of the ratings train, the next 10 % decide when to stop,
the last 10 % are measured once. The seed governs the weights, the shuffling and the dropout. No model reads the user's id: most users of
the last 10 % are new.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.pages import README, fill
from benchmarks.sequences.movielens import Columns, read_movielens
from torch_rechub.basic.layers import MLP, EmbeddingLayer
from torch_rechub.data import Table, TableLoader
from torch_rechub.models.base import RankingModel
from torch_rechub.models.ranking import BST, DIN
from torch_rechub.trainers import CTRTrainer
from torch_rechub.types import Features, Scores

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "data" / "ml100k"
NETWORK: dict[str, Any] = {"dims": [64, 32], "dropout": 0.3, "activation": "dice"}


class MeanPooling(RankingModel):
    """The network of DIN, which reads the mean of each history."""

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        histories = [replace(history, pooling="mean") for history in columns.history]
        self.features = [*histories, *columns.target, *columns.user]
        self.embedding = EmbeddingLayer(self.features)
        self.mlp = MLP(sum(feature.embed_dim for feature in self.features), **NETWORK)

    def logits(self, x: Features) -> Scores:
        return self.embedding.look_up(x, self.features).through(self.mlp, self.features).squeeze(1)


MODELS: dict[str, Callable[[Columns], RankingModel]] = {
    "mean pooling": MeanPooling,
    "DIN": lambda c: DIN(c.user, c.history, c.target, NETWORK, {"dims": [32], "activation": "sigmoid", "use_softmax": True}),
    "BST": lambda c: BST(c.user, c.history, c.target, NETWORK, 2, 0.2, positions="from_target", dim_feedforward=64),
}


def train_once(name: str, columns: Columns, tables: list[Table], seed: int) -> tuple[float, float]:
    """Test AUC and log loss of one training."""
    torch.manual_seed(seed)
    model = MODELS[name](columns)
    loaders = [TableLoader(table, 1024, shuffle=place == 0, seed=seed) for place, table in enumerate(tables)]
    options: dict[str, Any] = {"regularization_params": {"embedding_l2": 1e-5}, "optimizer_params": {"lr": 1e-3}}
    trainer = CTRTrainer(model, n_epoch=30, earlystop_patience=3, model_path=None, progress=False, **options)
    trainer.fit(loaders[0], loaders[1])
    measured = trainer.measure(model, loaders[2])
    return measured["auc"], measured["logloss"]


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=FOLDER, type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--write", action="store_true", help="fill the table of benchmarks/README.md")
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(
            f"skipped: there is no MovieLens data in {options.data}. It is for research only and not part of this project; "
            "name its folder by --data."
        )
    columns, tables = read_movielens(options.data)
    lines = ["| history | test AUC | log loss |", "|---|---|---|"]
    for name in MODELS:
        figures = []
        for seed in options.seeds:
            figures.append(train_once(name, columns, tables, seed))
            print(f"{name} seed {seed}: AUC {figures[-1][0]:.4f}, log loss {figures[-1][1]:.4f}", flush=True)
        lines.append(f"| {name} | {spread([auc for auc, _ in figures])} | {spread([loss for _, loss in figures])} |")
    print("\n".join(lines))
    if options.write:
        fill(README, "sequences table", "\n".join(lines))


if __name__ == "__main__":
    main()
