"""The save of a run: what it holds, what it must hold to be resumed, and how it is applied, wholly or not at all."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from torch_rechub.basic.callback import Callback
from torch_rechub.data.protocol import Loader
from torch_rechub.data.random_state import get_random_state, set_random_state
from torch_rechub.engine.accepted import OptimizerChanges, in_words, review_patience
from torch_rechub.engine.extra_state import absent_buffers, create_buffers, extra_state, load_extra_state, plain_names, remove_buffers
from torch_rechub.engine.frozen import freeze_only, frozen_names
from torch_rechub.engine.identity import compare_identities, data_identity, free_names, labels_of
from torch_rechub.engine.optimizer_state import check_optimizer_state
from torch_rechub.engine.optimizers import detach_tables
from torch_rechub.storage import FINITE, NATURAL, TENSORS, UnexpectedContentError, check_shape
from torch_rechub.torch_private import mark_as_stepped

__all__ = ["apply_state", "load_state", "rank_state", "state_of"]

logger = logging.getLogger(__name__)


#: The facts of the state that a resumed run continues from.
POSITION: dict[str, Any] = {
    **{"epoch": NATURAL, "in_epoch": bool, "batch": NATURAL, "step": NATURAL, "epoch_step": NATURAL, "epoch_done": bool, "rows": NATURAL},
    **{"n_validation": NATURAL, "validated_at": int, "validation_pending": bool, "metrics": dict, "accepted": [str]},
}
OF_A_RANK = {"random": dict, "loader": dict}
STATE: dict[str, Any] = {
    **{"identity": dict, "position": POSITION, "first_epoch": NATURAL, "n_begun": NATURAL, "seconds": FINITE},
    **{"parameters": TENSORS, "frozen": [str], "buffers": TENSORS, "extra_state": dict, "optimizer": dict},
    **{
        "callbacks": dict,
        "history": [{"epoch": NATURAL, "step": NATURAL}],
        "stop_reason": (None, str),
        "mean_loss": {"sums": TENSORS, "epoch": TENSORS},
    },
    **{**OF_A_RANK, "validation_requested": bool, "rank_states": [OF_A_RANK]},
}


def state_of(run: Any) -> dict[str, Any]:
    """The save: everything that a resumed run needs. Rows that lag are stored as they are, so that saving changes no bit."""
    objective = run.trainer.objective
    return {
        "identity": run.identity,
        "position": {name: getattr(run.state, name) for name in POSITION},
        "first_epoch": run.first_epoch,
        "n_begun": run.n_begun,
        "seconds": run.state.seconds,
        "parameters": plain_names(objective.named_parameters()),
        "frozen": frozen_names(objective),
        "buffers": plain_names(objective.named_buffers()),
        "extra_state": extra_state(objective),
        "optimizer": run.optimizer.state_dict(),
        "callbacks": {label: callback.state_dict() for label, callback in labels_of(run.trainer.callbacks).items()},
        "history": run.history.records,
        "stop_reason": run.history.stop_reason,
        "mean_loss": run.mean_loss.state_dict(),
        **rank_state(run),
        "validation_requested": run.requests.current.validation,
        "rank_states": run.rank_states,
    }


def rank_state(run: Any) -> dict[str, Any]:
    """What differs from process to process in a run of several."""
    loader: Loader = run.train
    return {"random": get_random_state(), "loader": loader.state_dict()}


def load_state(run: Any, saved: Any, accept: Sequence[str] = ()) -> None:
    """Continue a saved run, with the random states of torch, numpy and Python. No state of a save overrides a setting.

    Args:
        run: has begun, and has not made a step.
        saved: what :func:`state_of` gave.
        accept: names of settings that may differ from the saved ones; the present ones hold.

    Raises:
        UnexpectedContentError: when ``saved`` is no save of such a run; everything is as it was before.
        ValueError: naming what differs, when the saved run is another one; nothing is changed then.
    """
    check_shape(saved, STATE)
    with _unexpected("the identity"):
        identity = run.identity | data_identity(run.train, run.val, saved["identity"])
    accepted = compare_identities(saved["identity"], identity, free_names(run.trainer.callbacks), accept)
    changes = OptimizerChanges(run.optimizer, accepted)
    _check_numbers(run, saved)
    with _undone_on_failure(run):
        freeze_only(run.trainer.objective, saved["frozen"])
        _check_tensors(run, saved, accepted)
        apply_state(run, saved)
        run.identity, run.first_epoch, run.n_begun = identity, saved["first_epoch"], saved["n_begun"]
        run.state.resume(saved["position"], saved["seconds"])
        run.requests.current.validation = saved["validation_requested"]
        changes.apply(run.trainer)
        run.state.accepted = [*run.state.accepted, *in_words(accepted, run.state.step)]
        with _unexpected("the patience of the saved run"):
            review_patience(run, saved["callbacks"])


def apply_state(run: Any, saved: Mapping[str, Any]) -> None:
    """Load each part; one that cannot be loaded is named."""
    objective, ranks = run.trainer.objective, run.trainer.ranks
    own = saved if ranks.is_first else saved["rank_states"][ranks.rank - 1]
    detach_tables(run.optimizer)
    create_buffers(objective, saved["buffers"])
    _copy_tensors(run, {**saved["parameters"], **saved["buffers"]})
    with _unexpected("the extra state of the model"):
        load_extra_state(objective, saved["extra_state"])
    with _unexpected("the state of the optimizer"):
        run.optimizer.load_state_dict(saved["optimizer"])
        mark_as_stepped(run.optimizer, saved["position"]["step"] > 0)
    for label, callback in labels_of(run.trainer.callbacks).items():
        if label in saved["callbacks"]:  # one that was added, as accepted, begins anew
            with _unexpected(f"the state of {label}"):
                callback.load_state_dict(saved["callbacks"][label])
    run.history.load(saved["history"], saved["stop_reason"])
    run.mean_loss.load_state_dict(saved["mean_loss"])
    with _unexpected("the state of the training loader"):
        run.train.load_state_dict(own["loader"])
    with _unexpected("the random state"):
        set_random_state(own["random"])


def _check_numbers(run: Any, saved: Mapping[str, Any]) -> None:
    """The numbers of a save fit this run."""
    others = sorted(saved["position"].keys() - POSITION.keys())
    if others:
        raise UnexpectedContentError(f"'position' must hold {', '.join(POSITION)} only; it holds {others[0]!r}")
    n_batch, batch = run.state.n_batch, saved["position"]["batch"]
    if n_batch is not None and batch > n_batch:
        raise UnexpectedContentError(f"'position.batch' must be <= {n_batch}, the batches of an epoch; it is {batch}")
    check_optimizer_state(run.optimizer, saved["optimizer"])
    n_other = run.trainer.ranks.size - 1
    if len(saved["rank_states"]) != n_other:
        raise UnexpectedContentError(f"'rank_states' must hold {n_other} states; it holds {len(saved['rank_states'])}")
    missing = [label for label in saved["identity"].get("callbacks", []) if not isinstance(saved["callbacks"].get(label), dict)]
    if missing:
        raise UnexpectedContentError(f"'callbacks' must hold a state of {missing[0]}; it holds {', '.join(map(repr, saved['callbacks']))}")


def _check_tensors(run: Any, saved: Mapping[str, Any], accepted: Collection[str]) -> None:
    """Every parameter and buffer of the objective is there, with its shape, and its dtype unless another one was accepted; no other one."""
    known = _tensors(run).keys() | absent_buffers(run.trainer.objective).keys()
    surplus = sorted((saved["parameters"].keys() | saved["buffers"].keys()) - known)
    if surplus:
        raise UnexpectedContentError(
            f"it holds weights {surplus[0]!r}, which this model does not have; make the model as it was at the save"
        )
    for name, tensor in _tensors(run).items():
        other = saved["parameters"].get(name, saved["buffers"].get(name))
        if other is None:
            raise UnexpectedContentError(f"the weights {name!r} are missing")
        if other.shape != tensor.shape or (other.dtype != tensor.dtype and f"dtype of {name}" not in accepted):
            given = f"{tuple(other.shape)} of {other.dtype}"
            raise UnexpectedContentError(f"the weights {name!r} must be {tuple(tensor.shape)} of {tensor.dtype}; they are {given}")


@contextmanager
def _undone_on_failure(run: Any) -> Generator[None, None, None]:
    """Everything that :func:`load_state` changes is as before where it fails within."""
    objective, ranks_part = run.trainer.objective, rank_state(run)
    frozen, absent = frozen_names(objective), absent_buffers(objective)
    weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in _tensors(run).items()}
    optimizer, extra = copy.deepcopy(run.optimizer.state_dict()), copy.deepcopy(extra_state(objective))
    loss = run.mean_loss.state_dict()
    steps: list[Callable[[], Any]] = [
        *[_undo_of(callback) for callback in labels_of(run.trainer.callbacks).values()],
        lambda: freeze_only(objective, frozen),
        lambda: load_extra_state(objective, extra),
        lambda: detach_tables(run.optimizer),
        lambda: remove_buffers(absent),
        lambda: _copy_tensors(run, weights),
        lambda: run.optimizer.load_state_dict(optimizer),
        lambda: run.history.load([], None),
        lambda: run.mean_loss.load_state_dict(loss),
        lambda: run.train.load_state_dict(ranks_part["loader"]),
        lambda: set_random_state(ranks_part["random"]),
    ]
    try:
        yield
    except BaseException:
        for step in steps:
            try:
                step()
            except Exception as error:  # a part of the user's that cannot load its own state; the others are restored all the same
                logger.warning("a part of the run could not be put back after its save was refused: %s: %s", type(error).__name__, error)
        raise


def _undo_of(callback: Callback) -> Callable[[], Any]:
    with contextlib.suppress(Exception):  # it has no state yet
        state = callback.state_dict()
        return lambda: callback.load_state_dict(state)
    return lambda: None


@contextmanager
def _unexpected(part: str) -> Generator[None, None, None]:
    """An error within is one of the save, and names the part."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, UnexpectedContentError) else f"{type(error).__name__}: "
        raise UnexpectedContentError(f"{part} cannot be used: {kind}{error}") from error


def _tensors(run: Any) -> dict[str, Tensor]:
    objective = run.trainer.objective
    return plain_names((*objective.named_parameters(), *objective.named_buffers()))


@torch.no_grad()
def _copy_tensors(run: Any, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in _tensors(run).items():
        tensor.copy_(tensors[name])
