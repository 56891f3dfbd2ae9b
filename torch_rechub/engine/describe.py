"""The loop in words: what a fit does, in order, and which callback acts where."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from torch_rechub.basic.callback import LearningRate
from torch_rechub.basic.callback.base import HOOKS, STEPS_OF_THE_LOOP
from torch_rechub.engine.callback_list import overrides
from torch_rechub.engine.extra_state import n_known

__all__ = ["describe", "summary"]

COLUMN = 38  # the first column of the callbacks' names


def describe(trainer: Any) -> str:
    """An outline of ``fit > epoch > batch > validation``, one line per hook with the callbacks that act there, in order.

    Lines without ``on_`` are what the loop itself does. A hook without callbacks shows a dash.
    """
    return "\n".join([*_head(trainer), "", *_loop(trainer), "", *_order(trainer)])


def summary(trainer: Any) -> str:
    """A trainer in one line: its model, its optimizer, what decides, and how far its latest run came."""
    monitored = f"monitor={trainer.monitor!r} ({trainer.expected_direction()})"
    optimizer = f"{type(trainer.optimizer).__name__} lr={_rates(trainer)}"
    epochs = f"{trainer.state.epoch} of {trainer.n_epoch} epochs trained"
    return f"{type(trainer).__name__}({_model(trainer)}, {optimizer}, {monitored}, device={str(trainer.device)!r}, {epochs})"


def _model(trainer: Any) -> str:
    n_weight = n_known(trainer.model.parameters())
    return f"{type(trainer.model).__name__}, {n_weight:,} parameters"


def _rates(trainer: Any) -> str:
    """The rates that training begins with, each once."""
    rates = dict.fromkeys(float(group.get("initial_lr", group["lr"])) for group in trainer.optimizer.param_groups)
    return ", ".join(f"{rate:g}" for rate in rates)


def _head(trainer: Any) -> Iterator[str]:
    yield f"{type(trainer).__name__} of {_model(trainer)}, on {trainer.device}"
    facts = {
        "optimizer": f"{type(trainer.optimizer).__module__}.{type(trainer.optimizer).__name__}, learning rate {_rates(trainer)}",
        "schedule": _schedule(trainer),
        "metrics": ", ".join(metric.name for metric in trainer.scoring.metrics),
        "monitor": f"{trainer.monitor}, best is its {trainer.expected_direction()}imum",
        "validations": f"{_often(trainer.validation_times.val_every)}, where there is validation data",
        "accumulate": f"{trainer.accumulate} {'batches make' if trainer.accumulate > 1 else 'batch makes'} one optimizer step",
        "clip_norm": "none" if trainer.clip_norm is None else f"{trainer.clip_norm:g}",
        "files": "none: model_path=None"
        if trainer.model_path is None
        else f"{os.fspath(trainer.model_path)}: model.pth is the best weights",
    }
    yield from (f"  {name:<12} {fact}" for name, fact in facts.items())


def _schedule(trainer: Any) -> str:
    schedule = trainer.callback(LearningRate)
    if schedule is None:
        return "none: the rate is constant"
    return f"{getattr(schedule.recipe.fn, '__name__', schedule.recipe.fn)}, once each {getattr(schedule, 'interval', 'epoch')}"


def _often(val_every: float | None) -> str:
    if val_every is None or (val_every == 1.0 and isinstance(val_every, float)):
        return "at each epoch's end"
    return f"every {val_every} steps and at each epoch's end" if isinstance(val_every, int) else f"every {val_every:g} of an epoch"


def _loop(trainer: Any) -> Iterator[str]:
    clip = "" if trainer.clip_norm is None else f", clipped to norm {trainer.clip_norm:g}"
    group = f"at the end of each group of {trainer.accumulate} batches:" if trainer.accumulate > 1 else "at each batch:"
    outline: list[tuple[int, str]] = [
        (0, f"fit, up to {trainer.n_epoch} epochs"),
        (1, "on_fit_begin"),
        (1, "epoch"),
        (2, "on_epoch_begin"),
        (2, "batch [train]"),
        (3, "on_batch_begin"),
        (3, "forward, backward"),
        (3, group),
        (4, f"gradients complete{clip}"),
        (4, "on_backward_end"),
        (4, "the optimizer steps"),
        (3, "on_batch_end"),
        (2, f"validation, {_often(trainer.validation_times.val_every)} or when requested"),
        (3, "begin_measuring"),
        (3, "on_validation_begin"),
        (3, "measure [validate]"),
        (4, "on_validation_batch_end"),
        (3, "decide"),
        (3, "on_new_best"),
        (3, "on_validation_end"),
        (3, "end_measuring"),
        (3, "on_record"),
        (2, "on_epoch_end"),
        (2, "requests to stop or pause are handled"),
        (2, "save, when requested, after any optimizer step [save]"),
        (3, "save"),
        (3, "on_save"),
        (1, "when an exception ends the run"),
        (2, "on_exception"),
        (1, "restore"),
        (1, "on_fit_end"),
    ]
    return (_line(trainer, depth, text) for depth, text in outline)


def _line(trainer: Any, depth: int, text: str) -> str:
    indent = "  " * depth
    if text not in {*HOOKS, *STEPS_OF_THE_LOOP}:
        return indent + text
    acting = [type(callback).__name__ for callback in trainer.callbacks if overrides(callback, text)]
    return f"{indent + text:<{COLUMN}}{', '.join(acting) or '-'}"


def _order(trainer: Any) -> Iterator[str]:
    yield "callbacks, in the order in which they run"
    yield from (f"  {place:>2}  {callback!r}" for place, callback in enumerate(trainer.callbacks, 1))
