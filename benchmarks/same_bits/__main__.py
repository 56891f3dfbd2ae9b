"""Runs the same settings under two commits and compares the bits of all results.

    python -m benchmarks.same_bits OLD [--new NEW]

OLD and NEW are commits, each checked out into a temporary git worktree; without ``--new`` the working tree is taken as it is. Under each,
``child.py`` runs every setting of ``settings.py`` in a process of its own with the same interpreter, one thread and a fixed hash seed; it
uses only the public API that both commits have. The settings are those of the present working tree.

Compared are the bits of: the weights after ``fit``; the state of the optimizer, and its rates, betas, eps, decay and momentum; the columns
epoch, step, rows, loss, lr, auc, logloss, is_best and trial_counter of the history; the stopper's best weights, ``best_auc`` and
``trial_counter``; the tensors of ``model.pth``; the predictions of the validation data; and the random states of torch, numpy and Python.
Times, the names of records and the order of columns are not compared.

A line of the table is a setting with "same bits" and a digest of all its results, or with what differs by how much: the largest
difference relative to the largest number of a tensor, the two largest ones and that of the predictions. A bias in front of batch norm has
a gradient of rounding errors only, which Adam enlarges, so it changes most after any change; "own nn.Module" has no batch norm and shows
whether a change is one of rounding. A result that only one commit has is a difference, and so is an error that a run raises, also where
both raise it.

Accumulation and two processes must be equal to rounding only (1e-3 relative), all other settings in every bit. The command exits with 1
if a setting differs. It takes about a minute. The digest of "killed and resumed" equals that of "dropout": the run that was killed ends as
the uninterrupted one.

"criterion nn.BCELoss()" changed on purpose, since an assigned ``BCELoss`` is computed from logits. So it is not compared with OLD: under
NEW it must have the digest of "DeepFM, Adam", in every bit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.same_bits.compare import Verdict

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("child.py")
TO_ROUNDING = ("accumulate=3", "two processes")
#: A setting that changed on purpose -> the setting with which its results must be the same bits under NEW.
SAME_AS = {"criterion nn.BCELoss()": "DeepFM, Adam"}


def git(*arguments: str) -> str:
    """The output of a git command in this repository."""
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def checked_out(commit: str | None, folder: Path) -> Iterator[Path]:
    """The tree of a commit in a temporary worktree; None is the working tree as it is."""
    if commit is None:
        yield ROOT
        return
    git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


def results(tree: Path, path: Path) -> dict[str, dict[str, Any]]:
    """The results of all settings under the package in ``tree``."""
    fixed = {"PYTHONPATH": str(tree), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(CHILD), "all", str(path)]
    done = subprocess.run(command, cwd=path.parent, env=os.environ | fixed, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"the settings did not run under {tree}:\n{done.stderr}")
    return torch.load(path, weights_only=True)


def compare(old: str, new: str | None) -> dict[str, Verdict]:
    """Setting -> its comparison. A setting of ``SAME_AS`` is compared with another setting under NEW instead of with itself under OLD."""
    with tempfile.TemporaryDirectory() as scratch:
        both = []
        for name, commit in (("old", old), ("new", new)):
            with checked_out(commit, Path(scratch) / name) as tree:
                both.append(results(tree, Path(scratch) / f"{name}.pt"))
    return {
        name: Verdict(both[1][SAME_AS[name]] if name in SAME_AS else result, both[1][name], name not in TO_ROUNDING)
        for name, result in both[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="the commit to compare with")
    parser.add_argument("--new", help="the commit that is compared; the working tree by default")
    options = parser.parse_args()
    verdicts = compare(options.old, options.new)
    width = max(map(len, verdicts))
    required = {
        name: f"as {SAME_AS[name]}" if name in SAME_AS else "every bit" if verdict.equal else "to rounding"
        for name, verdict in verdicts.items()
    }
    print(f"{'setting':{width}}  {'required':15}  result")
    for name, verdict in verdicts.items():
        print(f"{name:{width}}  {required[name]:15}  {verdict}{'' if verdict.passes else '  <- NOT KEPT'}")
    n_failed = sum(not verdict.passes for verdict in verdicts.values())
    print(f"{len(verdicts)} settings, {sum(verdict.same for verdict in verdicts.values())} with the same bits, {n_failed} that changed")
    sys.exit(n_failed > 0)


if __name__ == "__main__":
    main()
