"""One tiny recipe for each public model, and the data that they all read. A public model without a recipe fails a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_rechub.basic.callback import Callback
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.data import DataGenerator, TableLoader
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer

USER, ITEM = SparseFeature("user", 12, 4), SparseFeature("item", 20, 4)
TAGS = SequenceFeature("tags", 6, 4, padding_idx=0)
AGE, TASTE = DenseFeature("age"), DenseFeature("taste", 2)


def columns(n: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "user": rng.integers(0, 12, n),
        "item": rng.integers(0, 20, n),
        "tags": rng.integers(0, 6, (n, 3)),
        "age": rng.normal(size=n).astype(np.float32),
        "taste": rng.normal(size=(n, 2)).astype(np.float32),
    }


def labels(x: dict[str, np.ndarray], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed + 1).normal(size=len(x["user"]))
    return ((x["user"] + x["item"]) % 3 + x["age"] + noise > 1).astype(np.float32)


def tensors(n: int = 64, seed: int = 0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The same rows as a plain batch: a dict of tensors, and labels."""
    x = columns(n, seed)
    return {name: torch.from_numpy(column) for name, column in x.items()}, torch.from_numpy(labels(x, seed))


def loaders(
    n: int = 64, batch_size: int = 16, n_val: int = 40, weight: Any = None, weight_val: Any = None
) -> tuple[TableLoader, TableLoader]:
    x, x_val = columns(n), columns(n_val, seed=7)
    train, val, _ = DataGenerator(x, labels(x), weight).generate_dataloader(
        x_val, labels(x_val, 7), batch_size=batch_size, seed=3, weight_val=weight_val
    )
    return train, val


def _deepfm(dropout: float = 0.2, dims: list[int] | None = None) -> nn.Module:
    return DeepFM([USER, ITEM, TAGS, AGE, TASTE], [USER, ITEM, TAGS], {"dims": [8] if dims is None else dims, "dropout": dropout})


#: Public model -> how to make a tiny one that reads :func:`columns`.
RECIPES: dict[str, Callable[..., nn.Module]] = {"DeepFM": _deepfm}


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
