"""Validation-AUC trajectories of our row-wise Adam and of torch's dense Adam, on Frappe and on planted data.

    python -m benchmarks.trajectories [--data FOLDER] [--seeds 1 2 3] [--epochs N] [--out FILE]

One model, the same initial weights, batches and dropout, with ``CTRTrainer``: once as a user writes it, which trains
tables by rows; once with torch's dense Adam (fused), and once with torch's other dense Adam (its default loop). The two of torch are
also the same mathematics: their difference is the effect of rounding on a trajectory. No setting requires the dense path (no
penalty, no coupled decay), so that rows do lag between validations.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.__main__ import FOLDER
from benchmarks.pages import README, fill
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import load_frappe, make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer

RESULTS = Path(__file__).parents[1] / "results"
BATCH = 1024


def fused(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, fused=True, **options)


def default(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, foreach=False, **options)


OPTIMIZERS: dict[str, Callable[..., Any]] = {"rows": torch.optim.Adam, "fused": fused, "loop": default}


def frappe(folder: Path) -> Any:
    """Train and validation rows, and features."""
    data = load_frappe(folder)
    dense, sparse = data.feature_columns(10)
    return data.train, data.val, dense, sparse


def planted() -> Any:
    """Training and validation rows, and features, of generated clicks: 100,000 rows, 50,000 ids."""
    train, val = make_clicks(120_000, 4, 12, 50_000).split((5 / 6, 1 / 6))
    dense, sparse = train.feature_columns(8)
    return (train.x, train.y), (val.x, val.y), dense, sparse


def trajectory(data: Any, optimizer: Callable[..., Any], seed: int, n_epoch: int) -> list[float]:
    """The validation AUC of every validation, two an epoch."""
    torch.manual_seed(seed)
    train, val, dense, sparse = data
    model = DeepFM([*dense, *sparse], sparse, {"dims": [128, 64], "dropout": 0.2})
    loaders = DataGenerator(*train).generate_dataloader(*val, batch_size=BATCH, seed=seed)
    options: dict[str, Any] = {"n_epoch": n_epoch, "earlystop_patience": None, "model_path": None, "progress": False, "val_every": 0.5}
    trainer = CTRTrainer(model, optimizer, {"lr": 1e-3}, **options)
    return [float(record["auc"]) for record in trainer.fit(loaders[0], loaders[1])]


def compare(name: str, data: Any, seeds: list[int], n_epoch: int) -> dict[str, Any]:
    """All trajectories of one data set."""
    runs = {kind: [trajectory(data, make, seed, n_epoch) for seed in seeds] for kind, make in OPTIMIZERS.items()}
    return {"data": name, "seeds": seeds, "runs": runs}


def largest(results: dict[str, Any], one: str, other: str) -> float:
    """The largest difference between two optimizers at any validation of any seed."""
    pairs = zip(results["runs"][one], results["runs"][other], strict=True)
    return max(abs(a - b) for first, second in pairs for a, b in zip(first, second, strict=True))


def between_seeds(results: dict[str, Any]) -> float:
    """The largest difference between two seeds of torch's fused Adam at any validation."""
    return max(max(values) - min(values) for values in zip(*results["runs"]["fused"], strict=True))


def markdown(results: dict[str, Any]) -> str:
    """One data set as a table: each validation and seed, by rows and dense."""
    heads = [f"seed {seed}, {kind}" for seed in results["seeds"] for kind in ("by rows", "dense")]
    lines = [f"**{results['data']}**", "", f"| validation | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for number in range(len(results["runs"]["rows"][0])):
        cells = [f"{results['runs'][kind][place][number]:.5f}" for place in range(len(results["seeds"])) for kind in ("rows", "fused")]
        lines.append(f"| {number + 1} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Largest difference between by rows and torch's fused Adam {largest(results, 'rows', 'fused'):.5f}; between torch's fused Adam "
        f"and torch's default loop {largest(results, 'fused', 'loop'):.5f}; between two seeds {between_seeds(results):.5f}.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=FOLDER, type=Path, help="Frappe's folder")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS / "trajectories.json")
    options = parser.parse_args()
    sources: dict[str, Callable[[], Any]] = {"Planted clicks": planted}
    if options.data.is_dir():
        sources = {"Frappe": lambda: frappe(options.data), **sources}
    else:
        print(f"Frappe is skipped: there is no such data in {options.data}; name its folder by --data.", file=sys.stderr)
    results = []
    for name, read in sources.items():
        results.append(compare(name, read(), options.seeds, options.epochs))
        print(f"{markdown(results[-1])}\n", flush=True)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    if len(results) == 2 and options.out.parent == RESULTS:
        fill(README, "trajectories", "\n\n".join(map(markdown, results)))


if __name__ == "__main__":
    main()
