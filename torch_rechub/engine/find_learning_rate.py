"""Which learning rate to begin with: a short run in which the rate grows until the loss does."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.data.loader import TableLoader
from torch_rechub.engine.batches import with_last
from torch_rechub.engine.mean_loss import MeanLoss
from torch_rechub.engine.random_state import get_random_state, set_random_state
from torch_rechub.engine.run import Run
from torch_rechub.storage import write_figure
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    from torch_rechub.trainers.trainer import Trainer

__all__ = ["LearningRateFinding", "find_learning_rate"]

SMOOTHING, DIVERGED = 0.9, 4.0  # the smoothed loss keeps so much a step; so many times its least ends the search


@dataclass(frozen=True)
class LearningRateFinding:
    """What :func:`find_learning_rate` saw.

    Attributes:
        rates: the rate of each step.
        losses: the training loss of each step's batches, before it moved the weights.
        smoothed: their exponential mean, corrected for its beginning.
        suggestion: where the smoothed loss falls fastest over log(rate); None where it never falls.
        least: the rate of its least; a tenth of it is another common choice.
        diverged_at: the rate at which the search was ended because the loss had grown fourfold or was not finite; None otherwise.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    least: float
    diverged_at: float | None

    def plot(self, path: FilePath | None = None) -> Figure:
        """Draw the loss over the rate, with the suggestion marked.

        Args:
            path: a file to write as well; its suffix chooses the format (.svg, .png, .pdf).

        Raises:
            ImportError: when matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("LearningRateFinding.plot() needs matplotlib: pip install torch-rechub[plot]") from error
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        axes: Any = figure.subplots()
        axes.plot(self.rates, self.losses, color="#bbbbbb", linewidth=1)
        axes.plot(self.rates, self.smoothed, color="#4c72b0", linewidth=1.5)
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color="#c44e52", linestyle="--", label=f"falls fastest: {self.suggestion:.2g}")
            axes.legend(fontsize=9)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss")
        axes.grid(alpha=0.25)
        if path is not None:
            write_figure(path, figure)
        return figure


def find_learning_rate(
    trainer: Trainer, train_loader: Iterable[Any], low: float = 1e-6, high: float = 1.0, n_step: int = 100
) -> LearningRateFinding:
    """Train ``n_step`` steps with a rate that grows from ``low`` to ``high`` by a constant factor, and see where the loss falls.

    Smith, *Cyclical Learning Rates for Training Neural Networks*, WACV 2017, section 3.3 (the "LR range test"). Deviations: the rate grows
    exponentially, not linearly, and the training loss is looked at, not the accuracy. Afterwards model, modes, optimizer, loader and
    random states are what they were, bit for bit; no callback runs.

    Args:
        trainer: one that is not fitting; its optimizer is left alone, a fresh one of the same kind is used.
        train_loader: yields ``(x, y)`` or ``(x, y, weight)``; walked several times where it is short.
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
    if not (0 < low < high and math.isfinite(high)) or n_step < 10:
        raise ValueError(f"find_learning_rate: needs 0 < low < high and n_step >= 10; got low={low}, high={high}, n_step={n_step}.")
    if trainer.state.phase != "idle":
        raise RuntimeError("find_learning_rate: the trainer is fitting. Call it before fit.")
    rates = [low * (high / low) ** (i / (n_step - 1)) for i in range(n_step)]
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    with _on_trial(trainer, train_loader):
        for loss in _losses(trainer, train_loader, rates):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            losses.append(loss)
            smoothed.append(mean / (1 - SMOOTHING ** len(losses)))
            if not math.isfinite(loss) or smoothed[-1] > DIVERGED * min(smoothed):
                break
    return _judge(rates[: len(losses)], losses, smoothed, stopped=len(losses) < n_step or not math.isfinite(losses[-1]))


def _losses(trainer: Trainer, loader: Iterable[Any], rates: list[float]) -> Generator[float, None, None]:
    """The loss of each step, trained with its rate."""
    step, seen = 0, MeanLoss(trainer.device)
    run = Run(trainer, loader)
    with run.training() as train_step:
        while step < len(rates):
            trainer.state.batch = 0
            for batch, last in with_last(loader, trainer.state):
                for group in trainer.optimizer.param_groups:
                    group["lr"] = rates[step]
                run.batch(train_step, batch, last)
                assert trainer.state.loss is not None
                seen.add(trainer.state.loss, 1)
                if trainer.state.stepped:
                    yield seen.take()
                    step += 1
                    if step == len(rates):
                        break
            if trainer.state.batch == 0:
                raise ValueError("The training loader yields no batch: there is nothing to train on.")


@contextmanager
def _on_trial(trainer: Trainer, loader: Any) -> Generator[None, None, None]:
    """Whatever happens within, everything is as before afterwards."""
    trainer.settle_tables()
    model, random = trainer.model, get_random_state(loader)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    modes = [(module, module.training) for module in model.modules()]
    parts = ("optimizer", "scheduler", "used", "state", "mean_loss")
    kept = {name: getattr(trainer, name) for name in parts}
    order = copy.copy(loader._order) if isinstance(loader, TableLoader) else None
    try:
        trainer.make_optimizer()
        trainer.scheduler, trainer.state, trainer.mean_loss = None, TrainerState(), MeanLoss(trainer.device)
        yield
    finally:
        trainer.own_tables(False)
        for name, value in kept.items():
            setattr(trainer, name, value)
        for name, tensor in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items():
            if name in before:  # a lazy layer may have found its size since
                tensor.data.copy_(before[name])
        for name, parameter in model.named_parameters():
            parameter.grad = gradients.get(name)
        for module, training in modes:
            module.training = training
        if order is not None:
            loader.set_epoch(order.epoch, order.start_batch)
        set_random_state(random, loader)


def _judge(rates: list[float], losses: list[float], smoothed: list[float], stopped: bool) -> LearningRateFinding:
    """Where the smoothed loss falls fastest, before its least."""
    curve = np.where(np.isfinite(smoothed), smoothed, np.inf)
    least = int(curve.argmin())
    begin = min(5, least)  # the first few means are of few steps
    slopes = np.gradient(curve[begin : least + 1]) if least - begin >= 2 else np.zeros(1)
    steepest = begin + int(slopes.argmin())
    suggestion = rates[steepest] if slopes.min() < 0 else None
    return LearningRateFinding(rates, losses, smoothed, suggestion, rates[least], rates[-1] if stopped else None)
