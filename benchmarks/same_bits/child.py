"""Runs in a process of its own under one commit, whose tree is on PYTHONPATH, and writes the results of the runs.

python child.py all RESULTS.pt               every setting
python child.py killed FOLDER                a run that kills its process within an epoch
python child.py ranks FOLDER                 started by torchrun: two processes, each with half of every batch
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import settings
import torch

import torch_rechub
from torch_rechub.basic.callback import Callback, Checkpoint
from torch_rechub.trainers import CTRTrainer

COLUMNS = ("epoch", "step", "rows", "loss", "lr", "auc", "logloss", "is_best", "trial_counter")
GROUP = ("lr", "initial_lr", "betas", "eps", "weight_decay", "momentum")
KILL_AT = 15  #: batches; an epoch has ten


class Kill(Callback):
    """Kills its process after ``KILL_AT`` batches, unless the run was resumed from a save."""

    part_of_run = False
    n_batch = 0

    def on_batch_end(self, trainer: Any) -> None:
        Kill.n_batch += 1
        if Kill.n_batch == KILL_AT and os.environ.get("SAME_BITS_KILL"):
            os.kill(os.getpid(), signal.SIGKILL)


def seed(number: int) -> None:
    """Set all three random states."""
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def flat(tree: Any, name: str) -> dict[str, Any]:
    """The tensors and plain values of nested containers, by the path of names to them."""
    if isinstance(tree, Mapping):
        return {key: value for part in tree for key, value in flat(tree[part], f"{name} {part}").items()}
    if isinstance(tree, list | tuple):
        return {key: value for i, part in enumerate(tree) for key, value in flat(part, f"{name} {i}").items()}
    if isinstance(tree, torch.Tensor):
        return {name: tree.detach().clone()}
    return {name: tree}


def results_of(trainer: CTRTrainer, folder: Path, val: Any) -> dict[str, Any]:
    """All results of a run, without times."""
    states = {"torch": torch.get_rng_state(), "numpy": repr(np.random.get_state()), "python": repr(random.getstate())}
    optimizer = trainer.optimizer.state_dict()
    groups = [{name: group[name] for name in GROUP if name in group} for group in optimizer["param_groups"]]
    stopper = trainer.early_stopper
    results = {
        "weights": trainer.model.state_dict(),
        "optimizer": {"state": optimizer["state"], "groups": groups},
        "history": [{name: record[name] for name in COLUMNS if name in record} for record in trainer.history],
        "best weights": stopper.best_weights,
        "stopper": {"best_auc": stopper.best_auc, "trial_counter": stopper.trial_counter},
        "model.pth": torch.load(folder / "model.pth", weights_only=True),
        "random state": states,
    }
    if val is not None:
        results["predictions"] = torch.as_tensor(np.asarray(trainer.predict(trainer.model, val)))
    return {key: value for part, tree in results.items() for key, value in flat(tree, part).items()}


def train(case: settings.Case, folder: Path, resume: Any = None) -> dict[str, Any]:
    """Fit, and the results."""
    options = {"n_epoch": 3, "optimizer_params": {"lr": 0.02}, "progress": False} | case.options
    trainer = CTRTrainer(case.model, model_path=str(folder), **options)
    for name, value in case.assigned.items():
        setattr(trainer, name, value)
    trainer.fit(*case.loaders, resume=resume)
    return results_of(trainer, folder, case.loaders[1])


def setting(make: Any, folder: Path) -> dict[str, Any]:
    """A run of one setting, from the same random states."""
    seed(1)
    return train(make(), folder)


def killed(folder: Path, resume: Any) -> dict[str, Any]:
    """A run with dropout that saves every second step."""
    seed(1 if resume is None else 2)
    case = settings.case(Kill(), Checkpoint(every_n_steps=2), dropout=0.3)
    return train(case, folder, resume)


def killed_and_resumed(folder: Path) -> dict[str, Any]:
    """The run is killed in a process of its own and resumed in this one, with other random states."""
    command = [sys.executable, __file__, "killed", str(folder)]
    done = subprocess.run(command, env=os.environ | {"SAME_BITS_KILL": "1"}, capture_output=True, text=True, check=False)
    if done.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the run was not killed:\n{done.stderr}")
    return killed(folder, "auto")


def two_processes(folder: Path) -> dict[str, Any]:
    """Two processes by torchrun; the results of the first one."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__, "ranks", str(folder)]
    environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"torchrun failed:\n{done.stderr}")
    return torch.load(folder / "rank-0.pt", weights_only=True)


def rank(folder: Path) -> None:
    """The work of one of two processes."""
    seed(1)
    case = settings.smooth()
    case.loaders = settings.loaders(batch_size=settings.BATCH // 2)
    torch.save(train(case, folder), folder / f"rank-{os.environ['RANK']}.pt")


def tried(run: Any, folder: Path) -> dict[str, Any]:
    """The results of a run, or its error."""
    try:
        return run(folder)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def every_setting() -> dict[str, dict[str, Any]]:
    """Name of the setting -> the results of its run."""
    runs: dict[str, Any] = {
        name: lambda folder, make=make: setting(make, folder) for name, make in (settings.EQUAL | settings.TO_ROUNDING).items()
    }
    runs |= {settings.KILLED: killed_and_resumed, settings.PROCESSES: two_processes}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / str(i) for i, name in enumerate(runs)}
        for folder in folders.values():
            folder.mkdir()
        return {name: tried(run, folders[name]) for name, run in runs.items()}


def main() -> None:
    tree = Path(os.environ["PYTHONPATH"])
    if tree not in Path(torch_rechub.__file__).parents:
        sys.exit(f"torch_rechub was imported from {torch_rechub.__file__}, not from {tree}.")
    torch.set_num_threads(1)
    task, path = sys.argv[1], Path(sys.argv[2])
    if task == "all":
        torch.save(every_setting(), path)
    elif task == "killed":
        killed(path, None)
    else:
        rank(path)


if __name__ == "__main__":
    main()
