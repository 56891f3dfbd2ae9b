"""Measures the cost of training a DeepFM, in ours and in comparable libraries, in one interleaved run.

    python -m benchmarks.speed [--vocab 100k 1m 10m] [--batch 2048 4096] [--threads 1 2] [--decay 0 1e-5] [--peers ours existing ...]
                               [--steps N] [--rounds N] [--quick] [--out FILE]

Processor seconds of the process, medians over rounds (least-most); a peer's environment is made at its first use.
Unless --quick or --out is given, the figures are also written into the pages (benchmarks.speed.publish).
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from benchmarks.speed.contenders import SCRIPTS
from benchmarks.speed.publish import publish
from benchmarks.speed.report import markdown
from benchmarks.speed.rounds import measure
from benchmarks.speed.setting import Setting

RESULTS = Path(__file__).parents[1] / "results"
SUFFIX = {"k": 1_000, "m": 1_000_000}


def count(text: str) -> int:
    """``100k``, ``1m``, ``5000``.

    Example:
        >>> count("100k")
        100000
    """
    return int(float(text[:-1]) * SUFFIX[text[-1].lower()]) if text[-1].lower() in SUFFIX else int(text)


def steps_for(vocab: int) -> int:
    """Fewer steps where a step of the dense peers takes seconds."""
    return 100 if vocab <= 300_000 else 40 if vocab <= 3_000_000 else 10


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", nargs="+", type=count, default=[100_000, 1_000_000, 10_000_000], help="rows of all tables together")
    parser.add_argument("--batch", nargs="+", type=count, default=[2048, 4096])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--decay", nargs="+", type=float, default=[0.0, 1e-5], help="Adam's coupled weight decay")
    parser.add_argument("--peers", nargs="+", choices=list(SCRIPTS), default=list(SCRIPTS), help="ours first; ratios are against it")
    parser.add_argument("--steps", type=int, help="optimizer steps of a turn; by default fewer for larger vocabularies")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender that count")
    parser.add_argument("--quick", action="store_true", help="100k, batch 2048, one thread, few and short turns: a minute or two")
    parser.add_argument("--out", type=Path, help="the raw figures; benchmarks/results/speed.json by default")
    return parser.parse_args()


def settings(options: argparse.Namespace) -> list[Setting]:
    """Every combination; weight decay and two threads only at the first batch size."""
    if options.quick:
        options.vocab, options.batch, options.decay = options.vocab[:1], options.batch[:1], options.decay[:1]
        options.threads, options.rounds = [1], 3
        options.steps = options.steps or 50
    chosen = []
    for vocab, decay, threads, batch in itertools.product(options.vocab, options.decay, options.threads, options.batch):
        if batch == options.batch[0] or (decay == options.decay[0] and threads == options.threads[0]):
            chosen.append(Setting(vocab, batch, threads, decay, options.steps or steps_for(vocab)))
    return chosen


def save(path: Path, results: list[dict[str, Any]]) -> None:
    """Write the results after each setting, so that an interrupted run keeps those it has."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def main() -> None:
    options = arguments()
    out = options.out or RESULTS / ("speed-quick.json" if options.quick else "speed.json")
    results: list[dict[str, Any]] = []
    for setting in settings(options):
        results.append(measure(setting, options.peers, options.rounds))
        print(f"\n{markdown(results[-1])}\n", flush=True)
        save(out, results)
    if out == RESULTS / "speed.json":
        publish(results)


if __name__ == "__main__":
    main()
