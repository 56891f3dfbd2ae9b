"""Kill runs, check their files, resume them, and compare every bit: ``python -m benchmarks.torture --runs 300``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from benchmarks.torture.victim import KINDS, Window, digest_of, slow_disk, train
from torch_rechub.storage import BestFiles, SaveFolder

ROOT = Path(__file__).parents[2]
SLOW = 0.003  #: the longest wait of a call of a save, in seconds


def child(folder: Path, kind: str, window: Window, seed: int) -> int:
    """Fork a process that trains in ``folder`` and writes its result there."""
    pid = os.fork()
    if pid:
        return pid
    try:
        slow_disk(SLOW, seed)
        result = train(folder, kind, window, seed)
        (folder / "result.json").write_text(json.dumps(result))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def finish(folder: Path, kind: str, window: Window, seed: int) -> dict[str, Any]:
    """Run to the end, and read the result."""
    folder.mkdir(exist_ok=True)
    _, status = os.waitpid(child(folder, kind, window, seed), 0)
    if status != 0:
        raise AssertionError(f"a run in {folder} failed")
    return json.loads((folder / "result.json").read_text())


def kill(folder: Path, kind: str, window: Window, chance: random.Random, seconds: float) -> bool | None:
    """Kill a run at a random moment after its first batch; whether a save was being written, None where it had ended before."""
    window.clear()
    pid = child(folder, kind, window, chance.randrange(2**31))
    in_save = chance.random() < 0.6
    saves = chance.randrange(8)
    moment = time.monotonic() + chance.random() * seconds
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        early = window[Window.BATCHES] == 0
        waits = window[Window.SAVES] < saves or not window[Window.SAVING] if in_save else time.monotonic() < moment
        if not early and not waits:
            break
        time.sleep(0.0002)
    else:
        return None
    if in_save:
        time.sleep(chance.random() * SLOW * 5)
    writing = bool(window[Window.SAVING])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return writing if os.WIFSIGNALED(status) else None


def check_files(folder: Path, window: Window, expected: dict[str, Any], background: bool) -> None:
    """Check the files after a kill: each file that has its final name is complete, and the files of finished work exist."""
    best = folder / "model.pth"
    if window[Window.VALIDATIONS]:
        assert best.exists(), "there was a validation and there is no model.pth"
    if best.exists():
        best_digest = digest_of(torch.load(best, weights_only=True))
        assert best_digest in expected["validations"], "model.pth holds weights that no validation has measured"
    for entry in BestFiles(folder / "best", 1, "max").entries():
        assert digest_of(torch.load(folder / "best" / entry["file"], weights_only=True)) in expected["validations"], entry
    saves = SaveFolder(folder / "resume")
    for name in saves.names():
        saves.read(name)  # raises where it is damaged
    assert saves.names() or window[Window.SAVES] <= background, "a save was written and there is none"


def torture(runs: int, seed: int, scratch: Path) -> dict[str, Any]:
    """Kill ``runs`` runs, each one to three times, and resume them."""
    window = Window()
    chance = random.Random(seed)
    expected = {kind: finish(scratch / f"uninterrupted-{kind}", kind, window, 1) for kind in KINDS}
    began = time.monotonic()
    for kind in KINDS:
        again = finish(scratch / f"again-{kind}", kind, window, 2)
        assert again == expected[kind], "two uninterrupted runs differ"
    seconds = (time.monotonic() - began) / len(KINDS)
    counts = {"runs": 0, "kills": 0, "within a save": 0}
    while counts["runs"] < runs:
        kind, folder = KINDS[counts["runs"] % len(KINDS)], scratch / f"run-{counts['runs']}"
        folder.mkdir(exist_ok=True)
        killed = [kill(folder, kind, window, chance, seconds) for _ in range(chance.choice((1, 1, 1, 2, 3)))][:3]
        check_files(folder, window, expected[kind], kind == "background")
        times = sum(in_save is not None for in_save in killed)
        if times:
            counts["runs"] += 1
            counts["kills"] += times
            counts["within a save"] += sum(in_save is True for in_save in killed)
            result = finish(folder, kind, window, chance.randrange(2**31))
            differing = [name for name in ("weights", "history", "stop") if result[name] != expected[kind][name]]
            assert not differing, f"{folder}: the resumed run differs in {differing}"
            assert digest_of(torch.load(folder / "model.pth", weights_only=True)) == expected[kind]["weights"]
        _remove(folder)
    return counts


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


def write_docs(counts: dict[str, Any]) -> None:
    """Write the figures into the pages that show them."""
    english = f"{counts['runs']} runs were killed {counts['kills']} times, {counts['within a save']} of these within a save: none was lost."
    chinese = f"{counts['runs']} 次训练被强制终止 {counts['kills']} 次，其中 {counts['within a save']} 次发生在保存途中：没有一次训练丢失。"
    for language, text in (("en", english), ("zh", chinese)):
        page = ROOT / "docs" / language / "reliability.md"
        marked = re.compile(r"(<!-- torture: begin -->\n).*?(<!-- torture: end -->)", re.DOTALL)
        page.write_text(marked.sub(lambda marks, text=text: f"{marks[1]}{text}\n{marks[2]}", page.read_text()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--write", action="store_true", help="write the figures into the documentation")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        train(Path(scratch) / "warm-up", "plain", Window(), 0)  # imports and compiles once, for all children
        began = time.monotonic()
        counts = torture(given.runs, given.seed, Path(scratch))
    print(json.dumps({**counts, "seconds": round(time.monotonic() - began, 1)}))
    if given.write:
        write_docs(counts)


if __name__ == "__main__":
    sys.exit(main())
