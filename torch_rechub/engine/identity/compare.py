"""Whether a saved run may be resumed: what must be equal, what may differ, and what the user accepts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from torch_rechub.basic.callback import Callback
from torch_rechub.engine.identity.parts import labels_of

__all__ = ["FREE", "compare_identities", "free_names"]

logger = logging.getLogger(__name__)

#: What may differ; it is logged, since the bits may then differ as well.
FREE = ("n_epoch", "compile", "model_path", "device", "threads", "workers", "versions")
#: What cannot be accepted, by the beginning or the end of its name, and why.
FIXED = {
    "the save does not fit": ("shape of ", "model", "optimizer", "objective", "processes", "parameters of ", "amsgrad of "),
    "what was best would be compared with something else": (
        *("monitor", "direction of the monitor", "monitor of EarlyStopper", "mode of EarlyStopper", "monitor of Checkpoint"),
    ),
    "what it would roll back to is not in the save": ("action of NonFiniteGuard",),
    "the steps that the schedule has made are those of another one": (" of LearningRate",),
    "the place in the data would be another one": (" rows", "rows of ", "batches of ", "batch_size of ", "seed of ", "shuffle of "),
}
MAX_SHOWN = 8


def free_names(callbacks: Collection[Callback]) -> set[str]:
    """The names that may differ: :data:`FREE`, and what the callbacks declare as free settings."""
    return {*FREE, *(f"{name} of {label}" for label, callback in labels_of(callbacks).items() for name in callback.free_settings)}


def compare_identities(
    saved: Mapping[str, Any], present: Mapping[str, Any], free: Collection[str] = FREE, accept: Sequence[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Refuse to resume another run; log what differs and may differ.

    Args:
        saved: the identity of the saved run.
        present: that of the run that resumes it.
        free: names that may differ.
        accept: names that the user accepts to differ.

    Returns:
        The accepted differences: name -> the saved value and the present one.

    Raises:
        ValueError: naming each difference with both values; or a name in ``accept`` that is no setting, or cannot be accepted.
    """
    names = [*present, *(name for name in saved if name not in present)]
    _check_accepted(accept, names)
    differing = {name: (saved.get(name), present.get(name)) for name in names if saved.get(name) != present.get(name)}
    for name, (before, now) in differing.items():
        if name in free:
            logger.info("resuming with another %s: %s, it was %s", name, now, before)
    refused = {name: values for name, values in differing.items() if name not in free and name not in accept}
    if refused:
        raise ValueError(_refusal(refused))
    accepted = {name: values for name, values in differing.items() if name in accept}
    for name, (before, now) in accepted.items():
        logger.warning("resuming another run, as accepted: %s", _difference(name, before, now))
    return accepted


def _check_accepted(accept: Sequence[str], names: Sequence[str]) -> None:
    for name in accept:
        reason = reason_against(name)
        if reason is not None:
            raise ValueError(f"accept: {name!r} cannot be accepted: {reason}. Leave out resume= to start anew.")
        if name not in names:
            close = [other for other in names if name in other.split()][:3] or get_close_matches(name, names, n=3, cutoff=0.4)
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise ValueError(f"accept: there is no setting {name!r}.{hint} The error of a refused resume names those that differ.")


def reason_against(name: str) -> str | None:
    """Why a difference of this name cannot be accepted; None where it can."""
    for reason, patterns in FIXED.items():
        for pattern in patterns:
            is_whole = not pattern.startswith(" ") and not pattern.endswith(" ")
            if name == pattern or (not is_whole and (name.startswith(pattern) or name.endswith(pattern))):
                return reason
    return None


def _refusal(refused: Mapping[str, tuple[Any, Any]]) -> str:
    shown = [_difference(name, *values) for name, values in list(refused.items())[:MAX_SHOWN]]
    more = [] if len(refused) <= MAX_SHOWN else [f"{len(refused) - MAX_SHOWN} more"]
    acceptable = [name for name in refused if reason_against(name) is None]
    remedy = "Make them equal to resume, or leave out resume= to start anew"
    if len(acceptable) == len(refused):
        names = ", ".join(map(repr, acceptable[:MAX_SHOWN])) + (", ..." if more else "")
        remedy += f"; accept=[{names}] resumes all the same"
    return f"The saved run is another one: {'; '.join([*shown, *more])}. {remedy}."


def _difference(name: str, before: Any, now: Any) -> str:
    """One difference in words; of functions only the part that differs, since a reader learns nothing from digests of code."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return "; ".join(_difference(f"{key} of {name}", before.get(key), now.get(key)) for key in keys)
    if name.startswith("code of "):
        return f"the {name} was changed"
    return f"{name} was {_shown(before)} and is {_shown(now)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "code" in value:
        return f"the {'function' if 'function' in value else 'class'} {value.get('function', value.get('class'))}"
    return repr(value)
