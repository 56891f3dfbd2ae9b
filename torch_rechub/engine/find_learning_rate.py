"""A learning-rate range test: a short run in which the rate grows until the loss does."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.data import Loader, as_loader
from torch_rechub.data.random_state import get_random_state, set_random_state
from torch_rechub.engine.extra_state import absent_buffers, extra_state, load_extra_state, remove_buffers
from torch_rechub.engine.groups import batch_groups
from torch_rechub.engine.inputs import refuse_lazy
from torch_rechub.engine.learning_rate_finding import LearningRateFinding
from torch_rechub.engine.optimizers import detach_tables
from torch_rechub.engine.run import Run

__all__ = ["LearningRateFinding", "find_learning_rate"]

SMOOTHING, DIVERGED = 0.9, 4.0  # the smoothed loss keeps this part per step; the search ends at this multiple of its minimum


@named_arguments
def find_learning_rate(
    trainer: Any, train_loader: Iterable[Any], low: float = 1e-6, high: float = 1.0, n_step: int = 100
) -> LearningRateFinding:
    """Train ``n_step`` steps with a rate that grows from ``low`` to ``high`` by a constant factor, and find where the loss falls fastest.

    Smith, *Cyclical Learning Rates for Training Neural Networks*, WACV 2017, section 3.3 (the "LR range test"). Deviations: the rate grows
    exponentially, not linearly, and the training loss is measured, not the accuracy. Afterwards model, modes, optimizer, loader and
    random states have the same bits as before; no callback runs.

    Args:
        trainer: a trainer outside ``fit``. Its optimizer is not used; a new one with the same settings is.
        train_loader: yields ``(x, y)`` or ``(x, y, weight)``; iterated several times where it is short.
        low: the first rate, above 0.
        high: the last one.
        n_step: optimizer steps, at least 10.

    Raises:
        ValueError: when the range or ``n_step`` cannot be used, or the loader yields no batch.
        RuntimeError: within a ``fit``.

    Example:
        >>> import torch
        >>> from torch_rechub.data import DataGenerator
        >>> from torch_rechub.datasets import make_clicks
        >>> from torch_rechub.models.ranking import DeepFM
        >>> from torch_rechub.trainers import CTRTrainer
        >>> clicks = make_clicks(512, n_dense=2, n_sparse=3, vocab_size=20)
        >>> dense, sparse = clicks.feature_columns(embed_dim=4)
        >>> train_dl, _, _ = DataGenerator(clicks.x, clicks.y).generate_dataloader(batch_size=64, seed=0)
        >>> trainer = CTRTrainer(DeepFM([*dense, *sparse], sparse, {"dims": [8]}), model_path=None, progress=False)
        >>> finding = find_learning_rate(trainer, train_dl, low=1e-4, high=1.0, n_step=40)
        >>> 1e-4 <= finding.suggestion <= 1.0
        True
    """
    if not hasattr(trainer, "trial_optimizer"):
        raise TypeError(f"find_learning_rate: the first argument must be a trainer, the second a loader; got {type(trainer).__name__}.")
    if not (0 < low < high and math.isfinite(high)) or n_step < 10:
        raise ValueError(f"find_learning_rate: needs 0 < low < high and n_step >= 10; got low={low}, high={high}, n_step={n_step}.")
    if trainer.state.phase != "idle":
        raise RuntimeError("find_learning_rate: the trainer is fitting. Call it before fit.")
    refuse_lazy(trainer.objective, "find_learning_rate")
    rates = [low * (high / low) ** (i / (n_step - 1)) for i in range(n_step)]
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    loader = as_loader(train_loader)
    with _restored(trainer, loader) as optimizer:
        for loss in _losses(trainer, optimizer, loader, rates):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            losses.append(loss)
            smoothed.append(mean / (1 - SMOOTHING ** len(losses)))
            if not math.isfinite(loss) or smoothed[-1] > DIVERGED * min(smoothed):
                break
    return _judge(rates[: len(losses)], losses, smoothed, stopped=len(losses) < n_step or not math.isfinite(losses[-1]))


def _losses(trainer: Any, optimizer: Any, loader: Loader, rates: list[float]) -> Generator[float, None, None]:
    """The loss of each step, trained with its rate."""
    n_step = epoch = 0
    run = Run(trainer, optimizer, loader)
    with run.training() as step:
        while n_step < len(rates):
            run.state.begin_epoch()
            for group, _ in batch_groups(loader, run.state, epoch, trainer.accumulate, several=False):
                for parameters in optimizer.param_groups:
                    parameters["lr"] = rates[n_step]
                step(group)
                yield run.mean_loss.take()["loss"]
                n_step += 1
                if n_step == len(rates):
                    break
            epoch += 1
            if run.state.batch == 0:
                remedy = f" more after {n_step} steps. An iterator can be walked once only: give a list or a loader."
                raise ValueError(f"The training loader yields no batch{remedy if n_step else ': there is nothing to train on.'}")


@contextmanager
def _restored(trainer: Any, loader: Loader) -> Generator[Any, None, None]:
    """A new optimizer to try; afterwards model, modes, gradients, random states and loader are what they were."""
    trainer.settle_tables()
    objective, random, position = trainer.objective, get_random_state(), loader.state_dict()
    tensors = {**dict(objective.named_parameters()), **dict(objective.named_buffers())}
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    gradients = {name: parameter.grad for name, parameter in objective.named_parameters()}
    states, absent = copy.deepcopy(extra_state(objective)), absent_buffers(objective)
    modes = [(module, module.training) for module in objective.modules()]
    optimizer = trainer.trial_optimizer()
    try:
        yield optimizer
    finally:
        detach_tables(optimizer)
        for name, tensor in {**dict(objective.named_parameters()), **dict(objective.named_buffers())}.items():
            if name in before:  # a lazy layer may have got its size since
                tensor.data.copy_(before[name])
        for name, parameter in objective.named_parameters():
            parameter.grad = gradients.get(name)
        load_extra_state(objective, states)
        remove_buffers(absent)
        for module, training in modes:
            module.training = training
        loader.load_state_dict(position)
        set_random_state(random)


def _judge(rates: list[float], losses: list[float], smoothed: list[float], stopped: bool) -> LearningRateFinding:
    """Where the smoothed loss falls fastest before its minimum."""
    curve = np.where(np.isfinite(smoothed), smoothed, np.inf)
    least = int(curve.argmin())
    begin = min(5, least)  # the first few means are of few steps
    slopes = np.gradient(curve[begin : least + 1]) if least - begin >= 2 else np.zeros(1)
    steepest = begin + int(slopes.argmin())
    suggestion = rates[steepest] if slopes.min() < 0 else None
    return LearningRateFinding(rates, losses, smoothed, suggestion, rates[least], rates[-1] if stopped else None)
