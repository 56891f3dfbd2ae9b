"""Reading a loader with a model that does not learn: metrics and predictions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_rechub.basic.batch.parts import Parts, split_batch
from torch_rechub.basic.metric import AUC, Metric
from torch_rechub.data.loader import TableLoader
from torch_rechub.engine.distributed import ALONE, Ranks
from torch_rechub.engine.mean_loss import MeanLoss, size_of
from torch_rechub.engine.shares import is_shared
from torch_rechub.engine.train_step import TrainStep, probabilities

__all__ = ["evaluate", "measure", "predict_scores", "train_one_epoch"]


def evaluate(model: nn.Module, loader: Iterable[Any]) -> float:
    """The model's AUC on a loader's rows; our loaders are read in stored order, and the model is left in the mode it was in.

    Args:
        model: maps features to probabilities.
        loader: yields ``(x, y)`` or ``(x, y, weight)``.

    Raises:
        ValueError: when there are no rows or no labels.
    """
    metric = AUC()
    return measure(model, loader, [metric], device_of(model))[metric.name]


def train_one_epoch(model: nn.Module, loader: Iterable[Any], optimizer: torch.optim.Optimizer) -> float:
    """One pass over ``loader`` with the binary cross-entropy; returns the mean loss over rows, weighted where they are.

    Raises:
        ValueError: when there are no rows or no labels.
    """
    model.train()
    device, step = device_of(model), TrainStep(model)
    mean, n_batch = MeanLoss(device), 0
    for batch in loader:
        x, y, weight = parts = split_batch(batch).to(device)
        optimizer.zero_grad()
        loss = step(x, y, weight)
        loss.backward()
        optimizer.step()
        mean.add(loss.detach(), size_of(parts))
        n_batch += 1
    if n_batch == 0:
        raise ValueError("The loader yields no batch: there is nothing to train on.")
    return mean.take()


def measure(
    model: nn.Module,
    loader: Iterable[Any],
    metrics: Sequence[Metric],
    device: torch.device,
    loss_mode: bool = True,
    after_batch: Callable[[], None] | None = None,
    watching: Sequence[Metric] = (),
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """Each metric's value over a loader's rows; those that are ``watching`` see the rows too and are left as they then are.

    Several ``ranks`` read a stretch each of one of our loaders, and what they saw is merged. Rank 0 computes, and all get its numbers.
    """
    fresh = [metric.empty() for metric in metrics]
    n_batch = 0
    with evaluating(model):
        for x, y, weight in batches_in_order(loader, device, ranks):
            if y is None:
                raise ValueError("Evaluation needs labels: the loader must yield (x, y) or (x, y, weight); got x alone.")
            scores = probabilities(model, x, loss_mode)
            for metric in (*fresh, *watching):
                metric.update(y, scores, weight, x)
            n_batch += 1
            if after_batch is not None:
                after_batch()
        if not ranks.alone and is_shared(loader):
            n_batch = sum(n for (n,) in ranks.numbers([n_batch]))
            for metric in (*fresh, *watching):
                _merge(metric, ranks.gather(metric.state_dict()))
        if n_batch == 0:
            raise ValueError(
                "The loader yields no batch: there is nothing to evaluate. An iterator is used up after one walk; give a list or a loader."
            )
        return ranks.of_first(lambda: {metric.name: metric.compute() for metric in fresh})


def _merge(metric: Metric, states: list[dict[str, Any]]) -> None:
    """Let ``metric`` have seen what several ranks saw, in their order."""
    metric.load_state_dict(states[0])
    for state in states[1:]:
        other = metric.empty()
        other.load_state_dict(state)
        metric.merge(other)


def predict_scores(model: nn.Module, loader: Iterable[Any], device: torch.device, loss_mode: bool = True) -> np.ndarray[Any, Any]:
    """The model's score of each row, ``(N,)`` float32, in the loader's row order."""
    with evaluating(model):
        scores: list[Tensor] = [probabilities(model, batch.x, loss_mode) for batch in batches_in_order(loader, device)]
        if not scores:
            raise ValueError("The loader yields no batch: there is nothing to predict.")
        return torch.cat(scores).cpu().numpy()


def batches_in_order(loader: Iterable[Any], device: torch.device, ranks: Ranks = ALONE) -> Generator[Parts, None, None]:
    """A loader's batches on ``device``: ours in stored order and without moving their epoch, foreign ones as they come."""
    walked = loader
    if isinstance(loader, TableLoader):
        own = loader.in_order(ranks.rank, ranks.size)
        walked = own if len(own.table) or ranks.alone else ()  # fewer rows than ranks
    for batch in walked:
        yield split_batch(batch).to(device)


@contextmanager
def evaluating(model: nn.Module) -> Generator[None, None, None]:
    """Evaluation mode without gradients; afterwards each module's mode is what it was, and torch's random state as well."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # a plain DataLoader draws from it
            yield
    finally:
        for module, training in modes:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters lie."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
