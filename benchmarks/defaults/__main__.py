"""How the initial tables and the normalisation of the network change the quality of DeepFM.

    python -m benchmarks.defaults [--data FOLDER] [--seeds 1 2 3] [--batch-size 1024]

MovieLens-100K by six id columns and one list column, embedding 16, network 3 x 256 with dropout 0.1, Adam 5e-3 without decay, stop at the
second validation without improvement (four validations an epoch), best weights restored.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.defaults.movielens import read_movielens
from torch_rechub.basic.initializers import RandomNormal, XavierNormal
from torch_rechub.data import DataGenerator
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "data" / "ml100k"
INITIAL = {"N(0, 1e-4)": RandomNormal(0, 1e-4), "N(0, 1e-3)": RandomNormal(0, 1e-3), "N(0, .01)": RandomNormal(0, 0.01)}
INITIAL |= {"N(0, .05)": RandomNormal(0, 0.05), "Xavier": XavierNormal()}
NORMS = ("batch", "layer", None)


def run(splits: Any, features: Any, initial: str, norm: str | None, seed: int, batch_size: int, lr: float) -> float:
    """The test AUC of the weights that were best on the validation rows."""
    torch.manual_seed(seed)
    features = [dataclasses.replace(feature, initializer=INITIAL[initial]) for feature in features]
    model = DeepFM(features, features, {"dims": [256, 256, 256], "dropout": 0.1, "norm": norm})
    (train, val, test) = splits
    loaders = DataGenerator(*train).generate_dataloader(*val, *test, batch_size=batch_size, seed=seed)
    trainer = CTRTrainer(
        model, optimizer_params={"lr": lr}, n_epoch=20, earlystop_patience=4, val_every=0.25, model_path=None, progress=False
    )
    trainer.fit(loaders[0], loaders[1])
    return trainer.evaluate(model, loaders[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=FOLDER, type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=5e-3)
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(f"skipped: there is no MovieLens-100K in {options.data}; name its folder by --data.")
    torch.set_num_threads(1)
    splits, features = read_movielens(options.data)
    print("| tables | batch norm | layer norm | none |\n|---|---|---|---|")
    for initial in INITIAL:
        cells = []
        for norm in NORMS:
            aucs = [run(splits, features, initial, norm, seed, options.batch_size, options.lr) for seed in options.seeds]
            cells.append(f"{statistics.mean(aucs):.4f} ± {statistics.stdev(aucs) if len(aucs) > 1 else 0:.4f}")
        print(f"| {initial} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
