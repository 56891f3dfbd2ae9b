"""How the cost of our step grows: it is constant in the vocabulary, and proportional to batch, fields and embedding width.

    python -m benchmarks.speed.growth [--rounds N] [--out FILE]

One size is varied at a time around 1M rows of vocabulary, batch 2048, 26 sparse columns, embedding 16; one thread.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed.report import rows_of
from benchmarks.speed.rounds import measure
from benchmarks.speed.setting import Setting

RESULTS = Path(__file__).parents[1] / "results"
AROUND = Setting(vocab=1_000_000, steps=50)
VARIED: dict[str, tuple[int, ...]] = {
    "vocab": (100_000, 1_000_000, 10_000_000),
    "batch": (1024, 2048, 4096, 8192),
    "n_sparse": (13, 26, 52),
    "embed_dim": (8, 16, 32),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    print("| varied | value | step, CPU ms | train, ms / 1000 rows |\n|---|---|---|---|")
    for name, values in VARIED.items():
        for value in values:
            turns = measure(replace(AROUND, **{name: value}), ["ours"], options.rounds)
            if turns["failed"]:
                raise SystemExit(turns["failed"]["ours"])
            figures = rows_of(turns)["ours"]
            print(f"| {name} | {value:,} | {figures['step'].show()} | {figures['train'].show(2)} |", flush=True)
            results.append({"varied": name, "value": value, **turns})
            options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
