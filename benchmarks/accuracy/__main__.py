"""Trains DeepFM on Frappe by the published protocol, through our own trainer and callbacks, and compares with the published figure.

    python -m benchmarks.accuracy [--data FOLDER] [--seeds 1 2 3] [--embedding-l2 0.1]

Protocol (BARS, Frappe_x1): embedding 10, MLP 3x400 ReLU with batch norm, batch 4096, Adam 1e-3, (lambda/2) * sum(w^2) over the embedding
tables added to every step's loss, gradient norm clipped at 10, rate x0.1 at each validation without improvement, stop at the second, best
weights restored. The seed governs the weights, the shuffling and the dropout.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

from torch_rechub.data import DataGenerator
from torch_rechub.datasets import load_frappe
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer

PUBLISHED_AUC, ALLOWED = 0.9840, 0.002
FOLDER = Path(__file__).parents[2] / ".." / "shared" / "data" / "frappe"


def run(frappe, seed, embedding_l2, device):
    """One training; test AUC and log loss of the weights that were best on the validation split."""
    torch.manual_seed(seed)
    _, features = frappe.feature_columns(10)
    model = DeepFM(features, features, {"dims": [400, 400, 400], "dropout": 0.0})
    train, val, test = DataGenerator(*frappe.train).generate_dataloader(*frappe.val, *frappe.test, batch_size=4096, seed=seed)
    trainer = CTRTrainer(
        model,
        optimizer_params={"lr": 1e-3},
        regularization_params={"embedding_l2": embedding_l2 / 2},
        scheduler_fn=torch.optim.lr_scheduler.ReduceLROnPlateau,
        scheduler_params={"factor": 0.1, "patience": 0, "threshold": 0.0},
        n_epoch=100,
        earlystop_patience=2,
        device=device,
        model_path=None,
        clip_norm=10.0,
        progress=False,
    )
    began = time.perf_counter()
    history = trainer.fit(train, val)
    seconds = time.perf_counter() - began
    measured = trainer.measure(model, test)
    return {
        "seed": seed,
        "test_auc": measured["auc"],
        "test_logloss": measured["logloss"],
        "best_val_auc": history.best["auc"],
        "epochs": len(history),
        "seconds": round(seconds, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=FOLDER, type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--embedding-l2", type=float, default=0.1, help="the lambda of (lambda/2) * sum(w^2)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(
            f"skipped: there is no Frappe data in {options.data}. It is for research only and not part of this project; "
            "name its folder by --data."
        )
    frappe = load_frappe(options.data)
    results = []
    for seed in options.seeds:
        results.append(run(frappe, seed, options.embedding_l2, options.device))
        print(json.dumps(results[-1]), flush=True)
    mean = statistics.mean(result["test_auc"] for result in results)
    verdict = "within" if abs(mean - PUBLISHED_AUC) <= ALLOWED else "NOT within"
    print(f"mean test AUC of {len(results)} seeds {mean:.5f}; published {PUBLISHED_AUC}: {verdict} {ALLOWED}")


if __name__ == "__main__":
    main()
