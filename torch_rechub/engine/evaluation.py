"""Evaluation and prediction with a model that is not being trained, and the plain functions of hand-written loops."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric import AUC
from torch_rechub.data import Loader, as_loader
from torch_rechub.engine.gradients import differentiate
from torch_rechub.engine.mean_loss import MeanLoss
from torch_rechub.engine.objective import Objective
from torch_rechub.engine.row_objective import RowObjective
from torch_rechub.engine.scorer import RowScorer
from torch_rechub.engine.step import autocast

__all__ = ["evaluate", "evaluating", "predict", "train_one_epoch"]


@named_arguments
def evaluate(model: nn.Module, loader: Iterable[Any]) -> float:
    """The model's AUC on a loader's rows. Our loaders are read in stored order; the model's mode is left as it was.

    Args:
        model: maps features to probabilities.
        loader: yields ``(x, y)`` or ``(x, y, weight)``.

    Raises:
        ValueError: when there are no rows or no labels.
    """
    _check_model("evaluate", model)
    metric, objective = AUC(), _row_objective(model)
    with evaluating(model):
        return RowScorer([metric]).score(objective, as_loader(loader).in_order(), _device_of(model))[metric.name]


@named_arguments
def train_one_epoch(model: nn.Module, loader: Iterable[Any], optimizer: torch.optim.Optimizer) -> float:
    """One pass over ``loader`` with the binary cross-entropy; returns the mean loss over rows, weighted where rows are.

    Raises:
        ValueError: when there are no rows or no labels.
    """
    _check_model("train_one_epoch", model)
    model.train()
    device, objective = _device_of(model), _row_objective(model)
    mean, n_batch = MeanLoss(device), 0
    for batch in loader:
        totals = {**objective.sizes(batch), "batches": 1}
        optimizer.zero_grad()
        loss = objective(objective.to_device(batch, device), totals)
        differentiate(loss.value)
        optimizer.step()
        mean.add(loss.value.detach(), {"loss": loss.value.detach()}, totals, objective.n_row(batch))
        n_batch += 1
    if n_batch == 0:
        raise ValueError("The loader yields no batch: there is nothing to train on.")
    return mean.take()["loss"]


def predict(objective: Objective, loader: Iterable[Any] | Loader, device: torch.device, precision: str = "fp32") -> np.ndarray[Any, Any]:
    """The prediction of each row, ``(N,)``, in the loader's row order; half precision is widened to float32."""
    with evaluating(objective), autocast(device, precision):
        predictions = [objective.predict(objective.to_device(batch, device)) for batch in as_loader(loader).in_order()]
    if not predictions:
        raise ValueError("The loader yields no batch: there is nothing to predict.")
    joined = torch.cat(predictions).cpu()
    return (joined.float() if joined.is_floating_point() and joined.element_size() < 4 else joined).numpy()


@contextmanager
def evaluating(model: nn.Module) -> Generator[None, None, None]:
    """Evaluation mode without gradients; afterwards each module's mode and torch's random state are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # a plain DataLoader draws from it
            yield
    finally:
        for module, training in modes:
            module.training = training


def _check_model(function: str, model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"{function}: the first argument must be the model, a torch.nn.Module; got {type(model).__name__}.")


def _row_objective(model: nn.Module) -> RowObjective:
    return RowObjective(model, nn.BCELoss())


def _device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
