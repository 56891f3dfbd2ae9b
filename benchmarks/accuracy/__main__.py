"""Trains the ranking models on Frappe by the published protocol, and prints their figures beside the published ones.

    python -m benchmarks.accuracy [MODEL ...] [--data FOLDER] [--seeds 1 2 3] [--jobs 2] [--write]

Protocol (BARS, Frappe_x1): embedding 10, batch 4096, Adam 1e-3, (lambda/2) * sum(w^2) over the embedding tables added to every step's loss,
gradient norm clipped at 10, rate x0.1 at each validation without improvement, stop at the second, best weights restored. The settings
of each model are in frappe.toml. The seed governs the weights, the shuffling and the dropout. Each finished training is kept in
benchmarks/results/accuracy.json and not repeated; an interrupted one is resumed. --write fills the table of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.accuracy.protocol import train_once
from benchmarks.accuracy.settings import Setting, read_settings
from benchmarks.pages import README, fill

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "data" / "frappe"
RESULTS = Path(__file__).parents[1] / "results" / "accuracy.json"
SAVES = Path(__file__).parents[2] / "saved" / "accuracy"


def key_of(setting: Setting, seed: int) -> str:
    """Other settings give another key, so that a stored result is never one of earlier settings."""
    text = json.dumps([setting.model, setting.l2, setting.on_all, setting.arguments, setting.features], sort_keys=True)
    return f"{setting.name} seed {seed} {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def stored() -> dict[str, Any]:
    """The results of finished trainings."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def train_missing(settings: list[Setting], seeds: list[int], data: Path, jobs: int, device: str) -> None:
    """Train what has no stored result, in several processes, and store each result at once."""
    results = stored()
    missing = [(setting, seed) for seed in seeds for setting in settings if key_of(setting, seed) not in results]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(train_once, setting, seed, data, SAVES, device): (setting, seed) for setting, seed in missing}
        for future in as_completed(futures):
            setting, seed = futures[future]
            results = stored() | {key_of(setting, seed): future.result()}
            RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
            print(f"{setting.name} seed {seed}: {json.dumps(future.result())}", flush=True)


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def table(settings: list[Setting], seeds: list[int]) -> str:
    """One line for each model: ours beside the published figures, and the verdict."""
    results = stored()
    lines = [
        "| model | test AUC | published | log loss | published | verdict | epochs | parameters |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for setting in settings:
        runs = [results[key] for seed in seeds if (key := key_of(setting, seed)) in results]
        if runs:
            aucs, losses = [run["test_auc"] for run in runs], [run["test_logloss"] for run in runs]
            published = setting.five_runs or setting.published
            verdict = setting.verdict(statistics.mean(aucs), statistics.mean(losses))
            cells = [setting.name, spread(aucs), f"{published[0]:.4f}", spread(losses), f"{published[1]:.4f}", verdict]
            cells += [f"{statistics.mean(run['epochs'] for run in runs):.0f}", f"{runs[0]['parameters']:,}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="names of frappe.toml; all by default")
    parser.add_argument("--data", default=FOLDER, type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at the same time, with one thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="fill the table of benchmarks/README.md")
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(
            f"skipped: there is no Frappe data in {options.data}. It is for research only and not part of this project; "
            "name its folder by --data."
        )
    settings = read_settings()
    unknown = [name for name in options.models if name not in settings]
    if unknown:
        sys.exit(f"There is no model {unknown[0]!r} in frappe.toml; it has {', '.join(settings)}.")
    chosen = [settings[name] for name in options.models or settings]
    train_missing(chosen, options.seeds, options.data, options.jobs, options.device)
    print(table(chosen, options.seeds))
    if options.write:
        fill(README, "accuracy table", table(list(settings.values()), options.seeds))


if __name__ == "__main__":
    main()
