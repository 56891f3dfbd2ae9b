"""The peak memory of training: each contender alone, with a validation that keeps the best weights, and without one.

    python -m benchmarks.speed.memory [--vocab 10m] [--peers ours existing] [--steps N] [--out FILE]

The largest resident size of a contender's process, data and libraries included, after two turns. Contenders run one after the other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.speed.__main__ import RESULTS, count
from benchmarks.speed.rounds import measure
from benchmarks.speed.setting import Setting


def peak_mb(setting: Setting, name: str) -> float:
    """The peak memory of one contender alone."""
    turns = measure(setting, [name], 1)
    if turns["failed"]:
        raise SystemExit(turns["failed"][name])
    return max(turn["peak_mb"] for group in turns["groups"] for turn in group[name])


def table(peaks: dict[str, dict[str, float]], vocab: int) -> str:
    """Megabytes, and ours as a share of each."""
    lines = [
        f"| {vocab:,} rows of vocabulary | fit with validation, MB | ours / it | training alone, MB | ours / it |",
        "|---|---|---|---|---|",
    ]
    for name, figures in peaks.items():
        cells = [f"{figures[mode]:.0f} | {peaks['ours'][mode] / figures[mode]:.2f}" for mode in ("validated", "alone")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=count, default=10_000_000)
    parser.add_argument("--peers", nargs="+", choices=["ours", "existing"], default=["ours", "existing"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json")
    options = parser.parse_args()
    peaks: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(["ours", *options.peers]):
        modes = {"validated": True, "alone": False}
        peaks[name] = {
            mode: round(peak_mb(Setting(options.vocab, steps=options.steps, validate=validate), name)) for mode, validate in modes.items()
        }
        options.out.write_text(json.dumps({"vocab": options.vocab, "steps": options.steps, "peak_mb": peaks}, indent=1) + "\n")
    print(table(peaks, options.vocab))


if __name__ == "__main__":
    main()
