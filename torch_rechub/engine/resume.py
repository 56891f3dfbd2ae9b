"""Going on with a run that was broken off: what is saved, and how it is taken up again, bit for bit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from torch_rechub.data.loader import TableLoader
from torch_rechub.engine.fingerprint import compare_fingerprints, fingerprint
from torch_rechub.engine.random_state import get_random_state, set_random_state
from torch_rechub.storage.saves import SaveFolder

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["capture", "find_save", "own_part", "take_up"]

logger = logging.getLogger(__name__)
#: The facts of ``trainer.state`` that a run goes on from.
PLACE = (
    "epoch",
    "in_epoch",
    "batch",
    "step",
    "epoch_step",
    "rows",
    "check",
    "checked_at",
    "check_due",
    "metrics",
    "is_best",
    "stop_reason",
    "epoch_random",
    "read_random",
)


def capture(trainer: Trainer) -> dict[str, Any]:
    """All that a run needs to go on, as it lies: rows that lag are not brought up to date, so that saving changes no bit."""
    model = trainer.model
    return {
        "fingerprint": trainer.fingerprint,
        "place": {name: getattr(trainer.state, name) for name in PLACE},
        "seconds": trainer.state.seconds,
        "parameters": dict(model.named_parameters()),
        "buffers": dict(model.named_buffers()),
        "optimizer": trainer.optimizer.state_dict(),
        "callbacks": [callback.state_dict() for callback in trainer.callbacks if callback.part_of_run],
        "history": trainer.history.records,
        "mean_loss": trainer.mean_loss.state_dict(),
        "random": get_random_state(trainer.train_loader),
        "validation_asked": trainer.requests.validation,
        "other_ranks": trainer.other_ranks,
    }


def own_part(trainer: Trainer) -> dict[str, Any]:
    """What differs from process to process in a run of several: random states."""
    drawn = {name: getattr(trainer.state, name) for name in PLACE if name.endswith("_random")}
    return {"random": get_random_state(trainer.train_loader), **drawn}


def find_save(trainer: Trainer, resume: Any) -> Any:
    """The newest good save that ``fit(resume=...)`` asks for, or None where a run is to start anew.

    Raises:
        FileNotFoundError: when a folder was named and holds no save.
        ValueError: when ``resume`` is something else, or no save is good.
    """
    if resume is None:
        return None
    if resume == "auto":
        if trainer.model_path is None:
            raise ValueError("resume='auto' looks for a save under model_path, and model_path is None. Give the trainer a folder.")
        return SaveFolder(Path(trainer.model_path) / "resume").newest()
    if not isinstance(resume, str | Path):
        raise ValueError(f"resume must be None, 'auto' or a folder; got {resume!r}.")
    given = Path(resume)
    for folder in (given, given / "resume"):
        if SaveFolder(folder).names():
            return SaveFolder(folder).newest()
    raise FileNotFoundError(f"resume={str(resume)!r}: there is no save in this folder. resume='auto' starts anew where there is none.")


def take_up(trainer: Trainer, saved: dict[str, Any], train: Any, val: Any) -> None:
    """Bring the trainer, and torch, numpy and Python, to where the saved run stood.

    Raises:
        ValueError: naming what differs, when the saved run is another one; nothing is changed then.
    """
    before, present = saved["fingerprint"], trainer.fingerprint or fingerprint(trainer, train, val)
    seed: Any = before["training data"].get("seed")
    drawn = train if isinstance(train, TableLoader) and train.seed_is_drawn and seed is not None else None  # nobody chose one
    if drawn is not None:
        present = {**present, "training data": {**present["training data"], "seed": seed}}
    compare_fingerprints(before, present)
    trainer.fingerprint = present
    if drawn is not None:
        drawn.seed = before["training data"]["seed"]
    trainer.own_tables(False)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            parameter.copy_(saved["parameters"][name])
        for name, buffer in trainer.model.named_buffers():
            buffer.copy_(saved["buffers"][name])
    trainer.optimizer.load_state_dict(saved["optimizer"])
    vars(trainer.optimizer)["_opt_called"] = saved["place"]["step"] > 0  # a scheduler that comes first would warn
    taking_part = [callback for callback in trainer.callbacks if callback.part_of_run]
    for callback, state in zip(taking_part, saved["callbacks"], strict=True):
        callback.load_state_dict(state)
    for name, value in saved["place"].items():
        setattr(trainer.state, name, value)
    trainer.state.stepped = True  # a run is saved between two steps
    trainer.state.started -= saved["seconds"]
    trainer.requests.validation = saved["validation_asked"]
    trainer.history.records = saved["history"]
    trainer.mean_loss.load_state_dict(saved["mean_loss"])
    own = {"random": saved["random"]} if trainer.ranks.first else saved["other_ranks"][trainer.ranks.rank - 1]
    for name, value in own.items():
        if name != "random":
            setattr(trainer.state, name, value)
    set_random_state(own["random"], train)
    trainer.resumed = True
    logger.info("going on with the run saved at step %d of epoch %d", trainer.state.step, trainer.state.epoch + 1)
