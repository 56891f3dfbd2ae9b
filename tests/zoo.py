"""Tiny models by the recipes of tests/recipes, the data that they read, and trainers that show nothing."""

from __future__ import annotations

from typing import Any

import torch
from recipes import RECIPES
from recipes.columns import AGE, ITEM, TAGS, TASTE, USER, columns, labels
from torch import nn

from torch_rechub.basic.callback import Callback
from torch_rechub.data import DataGenerator, TableLoader
from torch_rechub.trainers import CTRTrainer

__all__ = ["AGE", "ITEM", "RECIPES", "TAGS", "TASTE", "USER", "columns", "labels"]


def tensors(n: int = 64, seed: int = 0, name: str = "DeepFM") -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The rows of a recipe as a plain batch: a dict of tensors, and labels."""
    x = RECIPES[name].columns(n, seed)
    return {name: torch.from_numpy(column) for name, column in x.items()}, torch.from_numpy(labels(x, seed))


def loaders(
    n: int = 64, batch_size: int = 16, n_val: int = 40, weight: Any = None, weight_val: Any = None, name: str = "DeepFM"
) -> tuple[TableLoader, TableLoader]:
    x, x_val = RECIPES[name].columns(n, 0), RECIPES[name].columns(n_val, 7)
    train, val, _ = DataGenerator(x, labels(x), weight).generate_dataloader(
        x_val, labels(x_val, 7), batch_size=batch_size, seed=3, weight_val=weight_val
    )
    return train, val


def model(name: str = "DeepFM", seed: int = 0, **options: Any) -> nn.Module:
    """A tiny model whose weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RECIPES[name](**options)


def plain_model(seed: int = 0) -> nn.Module:
    """A model without dropout or batch norm: a batch's loss is the mean of its rows' losses."""
    return model(seed=seed, dropout=0.0, dims=[])


def trainer(net: nn.Module | None = None, **options: Any) -> CTRTrainer:
    """A trainer that shows and writes nothing by default."""
    torch.manual_seed(1)
    settings = {"model_path": None, "progress": False, "n_epoch": 3, "optimizer_params": {"lr": 0.05}} | options
    return CTRTrainer(model() if net is None else net, **settings)


def copy_of(weights: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


def same(a: Any, b: Any) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Scripted:
    """An ``evaluate_fn`` that returns given values, and stores its calls."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.calls = values, []

    def __call__(self, y_true: Any, y_pred: Any) -> float:
        self.calls.append((y_true, y_pred))
        return self.values[len(self.calls) - 1]


class Watch(Callback):
    """Stores a copy of the weights at each validation and at each batch's end, before any other callback is called."""

    def __init__(self) -> None:
        self.at_validation: list[dict[str, torch.Tensor]] = []
        self.at_batch: list[dict[str, torch.Tensor]] = []

    def on_validation_begin(self, trainer: Any) -> None:
        self.at_validation.append(copy_of(trainer.model.state_dict()))

    def on_batch_end(self, trainer: Any) -> None:
        self.at_batch.append(copy_of(trainer.model.state_dict()))
