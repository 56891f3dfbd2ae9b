"""Contenders alternate, A B C A B C ... within one run, so that other load of the machine affects all of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.speed.contenders import TAKE_DECAY, Contender, ContenderFailed
from benchmarks.speed.setting import Setting, write_data

LARGE = 2_000_000  #: vocabulary size from which on only two contenders are in memory at once
SETTLING_STEPS = 200  #: steps of ours before the first round that counts: row-wise Adam computes its first steps one by one

Turns: TypeAlias = dict[str, list[dict[str, Any]]]


def measure(setting: Setting, names: Sequence[str], n_round: int) -> dict[str, Any]:
    """All turns of one setting: ``groups`` of contenders that were interleaved, ``ready`` facts, and who failed."""
    results: dict[str, Any] = {"setting": vars(setting), "title": setting.title, "groups": [], "ready": {}, "failed": {}}
    able = [name for name in names if not setting.decay or name in TAKE_DECAY or name == "floor"]
    with tempfile.TemporaryDirectory() as folder:
        setting_file = write_data(setting, Path(folder))
        for group in _groups(able, setting):
            results["groups"].append(_interleave(group, setting_file, setting, n_round, results))
    return results


def _groups(names: Sequence[str], setting: Setting) -> list[list[str]]:
    """All contenders together, or for large tables the first one (ours) with each other one; the floor needs little memory."""
    small = [name for name in names if name == "floor"]
    large = [name for name in names if name not in small]
    if setting.vocab < LARGE or len(large) < 3:
        return [[*large, *small]]
    return [[large[0], other, *(small if other == large[1] else ())] for other in large[1:]]


def _interleave(group: Sequence[str], setting_file: Path, setting: Setting, n_round: int, results: dict[str, Any]) -> Turns:
    running: list[Contender] = []
    turns: Turns = {}
    try:
        for name in group:
            if name in results["failed"]:
                continue
            _try(results, name, lambda name=name: running.append(Contender(name, setting_file, setting.threads)))
        for contender in running:
            results["ready"][contender.name] = contender.ready
            for _ in range(_n_settling(contender.name, setting)):
                _try(results, contender.name, contender.turn)
        for number in range(n_round):
            for contender in running:
                if contender.name not in results["failed"]:
                    _progress(setting, number, n_round, contender.name)
                    _try(results, contender.name, lambda each=contender: turns.setdefault(each.name, []).append(each.turn()))
    finally:
        for contender in running:
            contender.close()
    return {name: taken for name, taken in turns.items() if name not in results["failed"]}


def _n_settling(name: str, setting: Setting) -> int:
    """The number of turns that do not count, in which caches and allocators fill and kernels compile."""
    return max(-(-SETTLING_STEPS // setting.steps), 1) if name == "ours" else 1


def _try(results: dict[str, Any], name: str, action: Any) -> None:
    if name in results["failed"]:
        return
    try:
        action()
    except (ContenderFailed, RuntimeError) as error:
        results["failed"][name] = str(error)
        print(f"\n{name} does not take part: {error}", file=sys.stderr)


def _progress(setting: Setting, number: int, n_round: int, name: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{setting.title}: round {number + 1} of {n_round}, {name:<15}", end="", file=sys.stderr, flush=True)
