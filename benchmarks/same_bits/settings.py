"""The settings that are run under each commit: tiny data, tiny models, and one difference from the default each.

Only the public API that all commits share is used here. A setting is a function that returns a :class:`Case`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import EMA, Callback, EarlyStopper, NonFiniteGuard
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.data import DataGenerator, TorchDataset
from torch_rechub.models.ranking import DeepFM

N_TRAIN, N_VAL, BATCH = 145, 60, 16  # the last batch of an epoch has one row


@dataclass
class Case:
    """A model, its loaders, the arguments of its trainer, and what is assigned to the trainer before ``fit``."""

    model: nn.Module
    loaders: tuple[Any, Any]
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    assigned: dict[str, Any] = field(default_factory=dict[str, Any])


def table(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns and labels that depend on ``seed`` alone."""
    rng = np.random.default_rng(seed)
    x = {
        "user": rng.integers(0, 12, n),
        "item": rng.integers(0, 30, n),
        "tags": rng.integers(0, 6, (n, 3)),
        "age": rng.normal(size=n).astype(np.float32),
    }
    return x, ((x["user"] + x["item"]) % 3 + x["age"] + rng.normal(size=n) > 1).astype(np.float32)


def loaders(weighted: bool = False, batch_size: int = BATCH) -> tuple[Any, Any]:
    """Our own loaders, with or without row weights."""
    (x, y), (x_val, y_val) = table(N_TRAIN, 0), table(N_VAL, 1)
    weight, weight_val = (0.5 + np.abs(x["age"]), 0.5 + np.abs(x_val["age"])) if weighted else (None, None)
    generator = DataGenerator(x, y, weight)
    train, val, _ = generator.generate_dataloader(x_val, y_val, batch_size=batch_size, seed=3, weight_val=weight_val)
    return train, val


def deepfm(dropout: float = 0.0, dims: tuple[int, ...] = (8,)) -> nn.Module:
    """A DeepFM with every kind of feature; batch norm comes with each of ``dims``."""
    sparse = [SparseFeature("user", 12, 4), SparseFeature("item", 30, 4), SequenceFeature("tags", 6, 4, padding_idx=0)]
    return DeepFM([DenseFeature("age"), *sparse], sparse, {"dims": list(dims), "dropout": dropout})


class OwnModel(nn.Module):
    """A model that uses nothing of the library; ``extra`` makes it return a loss of its own beside the scores."""

    def __init__(self, extra: bool = False) -> None:
        super().__init__()
        self.extra = extra
        self.user, self.item = nn.Embedding(12, 4), nn.Embedding(30, 4)
        self.out = nn.Sequential(nn.Linear(9, 6), nn.LayerNorm(6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, 1))

    def forward(self, x: dict[str, torch.Tensor]) -> Any:
        """Probabilities, ``(B,)``; with ``extra`` also a scalar loss."""
        parts = [self.user(x["user"].long()), self.item(x["item"].long()), x["age"].float().reshape(-1, 1)]
        scores = self.out(torch.cat(parts, dim=1)).sigmoid().squeeze(1)  # (B,)
        return (scores, 0.01 * self.user.weight.square().mean()) if self.extra else scores


class SpoilGradients(Callback):
    """Makes the gradients of one step NaN."""

    part_of_run = False

    def __init__(self, at: int) -> None:
        self.at, self.n_step = at, 0

    def on_backward_end(self, trainer: Any) -> None:
        self.n_step += 1
        if self.n_step == self.at:
            for parameter in trainer.model.parameters():
                if parameter.grad is not None and not parameter.grad.is_sparse:
                    parameter.grad.fill_(float("nan"))


def half_error(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """A user-defined metric."""
    return float(np.mean((np.asarray(y_true) - np.asarray(y_pred)) ** 2) / 2)


def foreign_loaders() -> tuple[Any, Any]:
    """torch's own ``DataLoader``, which shuffles by torch's random state."""
    (x, y), (x_val, y_val) = table(N_TRAIN, 0), table(N_VAL, 1)
    return DataLoader(TorchDataset(x, y), batch_size=BATCH, shuffle=True), DataLoader(TorchDataset(x_val, y_val), batch_size=BATCH)


def listed_batches() -> tuple[Any, Any]:
    """Lists of plain batches: a dict of tensors, and labels."""

    def cut(n: int, seed: int) -> list[Any]:
        x, y = table(n, seed)
        rows = [slice(start, start + BATCH) for start in range(0, n, BATCH)]
        return [({name: torch.from_numpy(column[part]) for name, column in x.items()}, torch.from_numpy(y[part])) for part in rows]

    return cut(N_TRAIN, 0), cut(N_VAL, 1)


def case(*callbacks: Callback, dropout: float = 0.0, **options: Any) -> Case:
    """DeepFM with our loaders, and arguments of the trainer."""
    return Case(deepfm(dropout), loaders(), {"callbacks": list(callbacks)} | options)


def optimizer(kind: Any, **params: Any) -> Case:
    """DeepFM with another optimizer."""
    return case(optimizer_fn=kind, optimizer_params=params)


def scheduler(kind: Any, **params: Any) -> Case:
    """DeepFM with a schedule."""
    return case(scheduler_fn=kind, scheduler_params=params)


#: The results of these must be the same bits (``SAME_AS`` of the command has one exception).
EQUAL: dict[str, Callable[[], Case]] = {
    "DeepFM, Adam": case,
    "weighted rows": lambda: Case(deepfm(), loaders(weighted=True)),
    "dropout": lambda: case(dropout=0.3),
    "val_every=0.25": lambda: case(val_every=0.25),
    "no validation data": lambda: Case(deepfm(), (loaders()[0], None)),
    "patience 1": lambda: case(earlystop_patience=1, optimizer_params={"lr": 0.3}),
    "clip_norm": lambda: case(clip_norm=0.05),
    "weight_decay": lambda: case(optimizer_params={"lr": 0.02, "weight_decay": 1e-2}),
    "embedding_l2, dense_l2": lambda: case(regularization_params={"embedding_l2": 1e-3, "dense_l2": 1e-3}),
    "SGD with momentum": lambda: optimizer(torch.optim.SGD, lr=0.1, momentum=0.9),
    "AdamW": lambda: optimizer(torch.optim.AdamW, lr=0.02, weight_decay=0.1),
    "Adagrad": lambda: optimizer(torch.optim.Adagrad, lr=0.1),
    "NAdam (dense tables)": lambda: optimizer(torch.optim.NAdam, lr=0.02),
    "OneCycleLR": lambda: scheduler(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=40),
    "ReduceLROnPlateau": lambda: scheduler(lr_scheduler.ReduceLROnPlateau, patience=0, factor=0.1),
    "EMA": lambda: case(EMA(0.9)),
    "NonFiniteGuard": lambda: case(SpoilGradients(7), NonFiniteGuard("skip")),
    'min_delta="significant"': lambda: case(EarlyStopper(2, min_delta="significant"), val_every=0.5),
    "foreign DataLoader, shuffled": lambda: Case(deepfm(0.2), foreign_loaders()),
    "list of batches": lambda: Case(deepfm(), listed_batches()),
    "own nn.Module": lambda: Case(OwnModel(), loaders()),
    "loss_mode=False": lambda: Case(OwnModel(extra=True), loaders(), {"loss_mode": False}),
    "criterion nn.MSELoss()": lambda: Case(deepfm(), loaders(), assigned={"criterion": nn.MSELoss()}),
    "criterion nn.BCELoss()": lambda: Case(deepfm(), loaders(), assigned={"criterion": nn.BCELoss()}),
    "evaluate_fn": lambda: Case(deepfm(), loaders(), {"mode": "min"}, {"evaluate_fn": half_error}),
}


def smooth(**options: Any) -> Case:
    """A run in which rounding errors stay small: no batch norm, before which the gradient of a bias is rounding only, and a larger eps."""
    return Case(deepfm(dims=()), loaders(), {"optimizer_params": {"lr": 0.02, "eps": 1e-4}} | options)


#: The results of these may differ by rounding.
TO_ROUNDING: dict[str, Callable[[], Case]] = {"accumulate=3": lambda: smooth(accumulate=3)}

KILLED = "killed and resumed"  #: must be equal
PROCESSES = "two processes"  #: to rounding
