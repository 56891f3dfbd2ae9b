"""Computes figures from turns, and a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

EPOCH, VALIDATION = 1_000_000, 100_000  #: rows of the epoch by which contenders are compared, and of the validation at its end


class Spread(NamedTuple):
    """Median, least and most."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def show(self, digits: int = 1) -> str:
        """``median (least-most)``."""
        return f"{self.middle:.{digits}f} ({self.least:.{digits}f}-{self.most:.{digits}f})"


def rows_of(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Contender -> its figures, in CPU milliseconds where no other unit is given."""
    pooled: dict[str, list[dict[str, Any]]] = {}
    for group in results["groups"]:
        for name, turns in group.items():
            pooled.setdefault(name, []).extend(turns)
    shown = {}
    for name, turns in pooled.items():
        if name != "floor":
            shown[name] = _figures(results, name, turns)
    return shown


def _figures(results: dict[str, Any], name: str, turns: list[dict[str, Any]]) -> dict[str, Any]:
    setting = results["setting"]
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
        "step_ratio": ratio(results, name, lambda turn: turn["phases"]["train"][0]),
        "epoch_ratio": ratio(results, name, lambda turn: epoch_seconds(setting, turn)),
    }


def epoch_seconds(setting: dict[str, Any], turn: dict[str, Any]) -> float:
    """CPU seconds of an epoch of a million rows with one validation, from a shorter turn: all phases but "keep" grow with the rows."""
    n_row, n_val = setting["steps"] * setting["batch"], max(setting["steps"] // 4, 1) * setting["batch"]
    phases = {phase: cpu for phase, (cpu, _) in turn["phases"].items()}
    return phases["train"] * EPOCH / n_row + phases["validate"] * VALIDATION / n_val + phases["keep"]


def ratio(results: dict[str, Any], name: str, cost: Callable[[dict[str, Any]], float]) -> Spread | None:
    """The cost relative to ours, round by round; None where ours did not run."""
    pairs = [
        cost(theirs) / cost(ours)
        for group in results["groups"]
        if {"ours", name} <= set(group)
        for ours, theirs in zip(group["ours"], group[name], strict=True)
    ]
    return Spread.of(pairs) if pairs else None


def floor_of(results: dict[str, Any]) -> dict[str, Any] | None:
    """The floor of a step in CPU milliseconds, and the rates that it is computed from."""
    turns = [turn for group in results["groups"] for turn in group.get("floor", [])]
    if not turns:
        return None
    parts = {name: statistics.median(turn[name] for turn in turns) for name in ("gflops", "gflops_mm", "gbytes", "products", "bytes")}
    return {"step": Spread.of(turn["floor"] * 1e3 / results["setting"]["steps"] for turn in turns), **parts}


def markdown(results: dict[str, Any]) -> str:
    """One setting as a table."""
    lines = [
        f"**{results['title']}**",
        "",
        "| | step, CPU ms | step, wall ms | train, ms / 1000 rows | validate, ms / 1000 rows | keep best, ms "
        "| epoch, CPU s | peak MB | step / ours | epoch / ours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in rows_of(results).items():
        cells = [
            figures["step"].show(),
            figures["wall"].show(),
            figures["train"].show(2),
            figures["validate"].show(2),
            figures["keep"].show(0),
        ]
        cells += [figures["epoch"].show(), f"{figures['peak_mb']:.0f}"]
        cells += ["" if each is None else each.show(2) for each in (figures["step_ratio"], figures["epoch_ratio"])]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    floor = floor_of(results)
    if floor is not None:
        lines += [
            "",
            f"Floor of the step: {floor['step'].show()} CPU ms = products {floor['products'] * 1e3:.1f} ms "
            f"at {floor['gflops']:.0f} GFLOP/s (torch.mm: {floor['gflops_mm']:.0f}) "
            f"+ bytes {floor['bytes'] * 1e3:.1f} ms at {floor['gbytes']:.0f} GB/s.",
        ]
    lines += [f"\n{name} did not run: {why.splitlines()[-1]}" for name, why in results["failed"].items()]
    return "\n".join(lines)
