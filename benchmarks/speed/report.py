"""From turns to figures, and to a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

EPOCH, CHECK = 1_000_000, 100_000  #: rows of the epoch that contenders are compared by, and of the check at its end


class Spread(NamedTuple):
    """Median, least and most."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def show(self, digits: int = 1) -> str:
        """``median (least-most)``."""
        return f"{self.middle:.{digits}f} ({self.least:.{digits}f}-{self.most:.{digits}f})"


def rows_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Contender -> its figures; CPU milliseconds where nothing else is said."""
    pooled: dict[str, list[dict[str, Any]]] = {}
    for group in found["groups"]:
        for name, turns in group.items():
            pooled.setdefault(name, []).extend(turns)
    shown = {}
    for name, turns in pooled.items():
        if name != "floor":
            shown[name] = _figures(found, name, turns)
    return shown


def _figures(found: dict[str, Any], name: str, turns: list[dict[str, Any]]) -> dict[str, Any]:
    setting = found["setting"]
    n_row, n_val = setting["steps"] * setting["batch"], max(setting["steps"] // 4, 1) * setting["batch"]

    def spread(phase: str, clock: int, per: float) -> Spread:
        return Spread.of(turn["phases"][phase][clock] * 1e3 / per for turn in turns)

    return {
        "step": spread("train", 0, setting["steps"]),
        "wall": spread("train", 1, setting["steps"]),
        "train": spread("train", 0, n_row / 1000),
        "validate": spread("validate", 0, n_val / 1000),
        "keep": spread("keep", 0, 1),
        "epoch": Spread.of(epoch_seconds(setting, turn) for turn in turns),
        "peak_mb": max(turn["peak_mb"] for turn in turns),
        "step_ratio": ratio(found, name, lambda turn: turn["phases"]["train"][0]),
        "epoch_ratio": ratio(found, name, lambda turn: epoch_seconds(setting, turn)),
    }


def epoch_seconds(setting: dict[str, Any], turn: dict[str, Any]) -> float:
    """CPU seconds of an epoch of a million rows with one check, from a shorter turn: all phases but the keeping grow with the rows."""
    n_row, n_val = setting["steps"] * setting["batch"], max(setting["steps"] // 4, 1) * setting["batch"]
    phases = {phase: cpu for phase, (cpu, _) in turn["phases"].items()}
    return phases["train"] * EPOCH / n_row + phases["validate"] * CHECK / n_val + phases["keep"]


def ratio(found: dict[str, Any], name: str, cost: Callable[[dict[str, Any]], float]) -> Spread | None:
    """How many times what ours costs, round by round; None where ours did not run."""
    pairs = [
        cost(theirs) / cost(ours)
        for group in found["groups"]
        if {"ours", name} <= set(group)
        for ours, theirs in zip(group["ours"], group[name], strict=True)
    ]
    return Spread.of(pairs) if pairs else None


def floor_of(found: dict[str, Any]) -> dict[str, Any] | None:
    """The floor of a step in CPU milliseconds, and the rates it was worked out from."""
    turns = [turn for group in found["groups"] for turn in group.get("floor", [])]
    if not turns:
        return None
    parts = {name: statistics.median(turn[name] for turn in turns) for name in ("gflops", "gflops_mm", "gbytes", "products", "bytes")}
    return {"step": Spread.of(turn["floor"] * 1e3 / found["setting"]["steps"] for turn in turns), **parts}


def markdown(found: dict[str, Any]) -> str:
    """One setting as a table."""
    lines = [
        f"**{found['title']}**",
        "",
        "| | step, CPU ms | step, wall ms | train, ms / 1000 rows | validate, ms / 1000 rows | keep best, ms "
        "| epoch, CPU s | peak MB | step / ours | epoch / ours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, own in rows_of(found).items():
        cells = [own["step"].show(), own["wall"].show(), own["train"].show(2), own["validate"].show(2), own["keep"].show(0)]
        cells += [own["epoch"].show(), f"{own['peak_mb']:.0f}"]
        cells += ["" if each is None else each.show(2) for each in (own["step_ratio"], own["epoch_ratio"])]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    floor = floor_of(found)
    if floor is not None:
        lines += [
            "",
            f"Floor of the step: {floor['step'].show()} CPU ms = products {floor['products'] * 1e3:.1f} ms "
            f"at {floor['gflops']:.0f} GFLOP/s (torch.mm: {floor['gflops_mm']:.0f}) "
            f"+ bytes {floor['bytes'] * 1e3:.1f} ms at {floor['gbytes']:.0f} GB/s.",
        ]
    lines += [f"\n{name} did not run: {why.splitlines()[-1]}" for name, why in found["failed"].items()]
    return "\n".join(lines)
