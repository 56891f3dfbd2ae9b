"""The most memory that training takes: each contender alone, with a check whose best weights are kept, and training alone.

    python -m benchmarks.speed.memory [--vocab 10m] [--peers ours existing] [--steps N] [--out FILE]

The largest resident size of a contender's process, data and libraries included, after two turns. One runs after the other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.speed.__main__ import RESULTS, count
from benchmarks.speed.rounds import measure
from benchmarks.speed.setting import Setting


def peak_mb(setting: Setting, name: str) -> float:
    """Of one contender alone."""
    found = measure(setting, [name], 1)
    if found["failed"]:
        raise SystemExit(found["failed"][name])
    return max(turn["peak_mb"] for group in found["groups"] for turn in group[name])


def table(peaks: dict[str, dict[str, float]], vocab: int) -> str:
    """Megabytes, and ours as a share of each."""
    lines = [
        f"| {vocab:,} rows of vocabulary | fit with validation, MB | ours / it | training alone, MB | ours / it |",
        "|---|---|---|---|---|",
    ]
    for name, own in peaks.items():
        cells = [f"{own[mode]:.0f} | {peaks['ours'][mode] / own[mode]:.2f}" for mode in ("validated", "alone")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=count, default=10_000_000)
    parser.add_argument("--peers", nargs="+", choices=["ours", "existing"], default=["ours", "existing"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json")
    asked = parser.parse_args()
    peaks: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(["ours", *asked.peers]):
        modes = {"validated": True, "alone": False}
        peaks[name] = {
            mode: round(peak_mb(Setting(asked.vocab, steps=asked.steps, validate=validate), name)) for mode, validate in modes.items()
        }
        asked.out.write_text(json.dumps({"vocab": asked.vocab, "steps": asked.steps, "peak_mb": peaks}, indent=1) + "\n")
    print(table(peaks, asked.vocab))


if __name__ == "__main__":
    main()
