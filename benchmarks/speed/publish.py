"""Writes the measured figures into ``benchmarks/README.md`` (all of them) and the performance pages (one line a setting).

python -m benchmarks.speed.publish [FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import README, fill
from benchmarks.speed.report import floor_of, markdown, rows_of

RESULTS = Path(__file__).parents[1] / "results"
PAGES = [README.parents[1] / "docs" / language / "performance.md" for language in ("en", "zh")]
PEERS = ("existing", "deepctr-torch", "fuxictr", "recbole", "ours-plain", "ours-fused")


def summary(results: Sequence[dict[str, Any]]) -> str:
    """One line a setting: our step and its floor in CPU milliseconds, and the cost of an epoch of each other library relative to ours."""
    names = ("vocabulary", "batch", "threads", "weight decay", "ours, ms", "floor, ms", *PEERS)
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for measured in results:
        setting, rows, floor = measured["setting"], rows_of(measured), floor_of(measured)
        cells = [f"{setting['vocab']:,}", setting["batch"], setting["threads"], f"{setting['decay']:g}"]
        cells += [f"{rows['ours']['step'].middle:.1f}", "" if floor is None else f"{floor['step'].middle:.1f}"]
        ratios = (rows[name]["epoch_ratio"] if name in rows else None for name in PEERS)
        cells += ["" if ratio is None else f"x {ratio.middle:.2f}" for ratio in ratios]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def publish(results: Sequence[dict[str, Any]]) -> None:
    """Write the figures into all pages."""
    fill(README, "speed", "\n\n".join(markdown(measured) for measured in results))
    for page in PAGES:
        fill(page, "speed", summary(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=RESULTS / "speed.json")
    publish(json.loads(parser.parse_args().file.read_text()))


if __name__ == "__main__":
    main()
