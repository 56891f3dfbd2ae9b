"""Tomorrow's tasks, each in at most 40 lines on the one training loop: the seams that they need must stay."""

from __future__ import annotations

import math
import os
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.engine import CatalogueScorer, Judged, Loss, Objective, divide
from torch_rechub.trainers import CTRTrainer, Trainer

RANK, SIZE = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
N_USER, N_ITEM, LENGTH = 12, 20, 5
FEATURES = [SparseFeature("user", N_USER, 4), SparseFeature("item", N_ITEM, 4)]


def rows(n: int, seed: int) -> dict[str, Tensor]:
    """Users, items, a click and a watch time for each row; some labels are missing (NaN)."""
    draw = torch.Generator().manual_seed(seed)
    user, item = torch.randint(N_USER, (n,), generator=draw), torch.randint(N_ITEM, (n,), generator=draw)
    noise = torch.rand(n, 2, generator=draw, dtype=torch.float64)
    labels = torch.stack([((user + item) % 3 == 0).double(), 0.1 * item + noise[:, 0]], dim=1)
    return {"user": user, "item": item, "labels": labels.masked_fill(noise < 0.2, math.nan), "click": labels[:, 0]}


def batches(make: Any, n: int, size: int, seed: int = 0, shared: bool = True) -> list[Any]:
    """The batches of one process: of several processes each gets its part of every batch, where they are shared."""
    data = rows(n, seed)
    parts = [slice(a, min(a + size, n)) for a in range(0, n, size)]
    whole = [{name: column[part] for name, column in data.items()} for part in parts]
    n_rank, rank = (SIZE, RANK) if shared else (1, 0)
    return [make({name: column.tensor_split(n_rank)[rank] for name, column in batch.items()}) for batch in whole]


class TwoHeads(nn.Module):
    """A shared network on an embedding table, and one linear head for each task."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = EmbeddingLayer(FEATURES)
        self.shared, self.heads = nn.Linear(8, 6), nn.Linear(6, 2)
        self.double()

    def forward(self, x: Any) -> Tensor:
        return self.heads(torch.tanh(self.shared(self.embedding(x, FEATURES, squeeze_dim=True))))  # (B, 2)


class TwoTasks(Objective):
    """A click and a watch time with missing labels, weighted by learned uncertainties (Kendall et al., CVPR 2018, eq. 7)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.log_variance = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def sizes(self, batch: Any) -> dict[str, Any]:
        click, watch = (~batch[1].isnan()).sum(0)
        return {"click": click, "watch": watch}

    def terms(self, batch: Any, totals: Any) -> dict[str, Tensor]:
        x, y = batch
        prediction, known, y = self.model(x), (~y.isnan()).double(), y.nan_to_num()
        click = F.binary_cross_entropy_with_logits(prediction[:, 0], y[:, 0], known[:, 0], reduction="sum")
        watch = (known[:, 1] * (prediction[:, 1] - y[:, 1]).square()).sum()
        return {"click": divide(click, totals["click"]), "watch": divide(watch, totals["watch"])}

    def forward(self, batch: Any, totals: Any) -> Loss:
        terms, variance = self.terms(batch, totals), self.log_variance
        value = (torch.exp(-variance) * torch.stack(list(terms.values()))).sum() + variance.sum() / totals["batches"]
        return Loss(value, terms)

    def n_row(self, batch: Any) -> int:
        return len(batch[1])

    def judge(self, batch: Any) -> dict[str, Judged]:
        prediction, known = self.predict(batch), ~batch[1].isnan()
        return {task: Judged(batch[1][known[:, i], i], prediction[known[:, i], i]) for i, task in enumerate(("click", "watch"))}

    def predict(self, batch: Any) -> Tensor:
        return self.model(batch[0])


class Balanced(TwoTasks):
    """The plain sum of two losses, whose gradients of the shared parameters are balanced."""

    def __init__(self, model: nn.Module) -> None:
        Objective.__init__(self, model)

    def forward(self, batch: Any, totals: Any) -> Loss:
        terms = self.terms(batch, totals)
        return Loss(torch.stack(list(terms.values())).sum(), terms)


class GradNorm(Balanced):
    """Learned task weights by the norms of the tasks' gradients (Chen et al., ICML 2018, eq. 1-2, over all shared parameters)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.weights = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.register_buffer("first", torch.zeros(2, dtype=torch.float64))

    def balance(self, gradients: Any, losses: Any) -> dict[str, Tensor]:
        now = torch.stack(list(losses.values()))
        if not self.first.any():
            self.first.copy_(now)
        norms = torch.stack([torch.cat([g.reshape(-1) for g in gradients[task].values()]).norm() for task in losses])
        weighted, rate = self.weights * norms, now / self.first
        target = (weighted.mean() * (rate / rate.mean()) ** 1.5).detach()
        (weighted - target).abs().sum().backward()
        weight = dict(zip(losses, self.weights.detach(), strict=True))
        return {name: sum(weight[task] * gradients[task][name] for task in losses) for name in gradients["click"]}

    @torch.no_grad()
    def after_step(self) -> None:
        self.weights.clamp_(min=0.05).mul_(2 / self.weights.sum())


class MetaBalance(Balanced):
    """The second task's gradient gets the moving norm of the first one's, parameter by parameter (He et al., WWW 2022, Algorithm 2)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.names = [name for name, _ in model.named_parameters() if "heads" not in name]
        self.register_buffer("norms", torch.zeros(2, len(self.names), dtype=torch.float64))

    def balance(self, gradients: Any, losses: Any) -> dict[str, Tensor]:
        balanced = {}
        for i, name in enumerate(self.names):
            main, other = (gradients[task]["model." + name] for task in losses)
            self.norms[:, i].mul_(0.9).add_(0.1 * torch.stack([main.norm(), other.norm()]))
            balanced["model." + name] = main + other * self.norms[0, i] / (self.norms[1, i] + 1e-12)
        return balanced


class PCGrad(Balanced):
    """Each task's gradient without its component against the other one's (Yu et al., NeurIPS 2020, Algorithm 1)."""

    def balance(self, gradients: Any, losses: Any) -> dict[str, Tensor]:
        flat = {task: torch.cat([g.reshape(-1) for g in gradients[task].values()]) for task in losses}
        click, watch = flat["click"], flat["watch"]
        conflict = (click @ watch).clamp(max=0.0)
        total = click - conflict / watch.square().sum() * watch + watch - conflict / click.square().sum() * click
        parts = total.split([g.numel() for g in gradients["click"].values()])
        return {name: part.view(g.shape) for (name, g), part in zip(gradients["click"].items(), parts, strict=True)}


class MultiTaskTrainer(Trainer):
    """Trains one of the objectives above."""

    objective_class: type[Objective] = TwoTasks

    def make_objective(self, model: nn.Module) -> Objective:
        return self.objective_class(model)


class Towers(nn.Module):
    """A vector for each user and each item."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(N_USER, 4), nn.Embedding(N_ITEM, 4)
        self.double()


class TwoTowers(Objective):
    """Softmax over the batch's items and drawn negatives; each batch stands for itself, since its items are the negatives of its users."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, batch: Any, totals: Any) -> Loss:
        user, item = batch
        candidates = torch.cat([item, torch.randint(N_ITEM, (6,), generator=self.generator)])
        scores = self.model.user(user) @ self.model.item(candidates).T
        same = (candidates == item[:, None]) & (torch.arange(len(candidates)) != torch.arange(len(item))[:, None])
        loss = F.cross_entropy(scores.masked_fill(same, -torch.inf), torch.arange(len(item)), reduction="sum")
        term = divide(loss, totals["loss"])
        return Loss(term, {"loss": term})

    def n_row(self, batch: Any) -> int:
        return len(batch[0])

    def encode(self, batch: Any, side: str) -> Tensor:
        return self.model.user(batch[0]) if side == "user" else self.model.item(batch)

    def get_extra_state(self) -> Tensor:
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state)


class RetrievalTrainer(Trainer):
    """Trains two towers, and ranks the catalogue."""

    def make_objective(self, model: nn.Module) -> Objective:
        return TwoTowers(model)


class NextItemModel(nn.Module):
    """Token logits from the mean of the embeddings so far, their positions and their times."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.positions, self.output = nn.Embedding(N_ITEM, 4), nn.Embedding(LENGTH, 4), nn.Linear(4, N_ITEM)
        self.double()

    def forward(self, tokens: Tensor, positions: Tensor, times: Tensor) -> Tensor:
        x = self.items(tokens) + self.positions(positions) + times.unsqueeze(-1)  # (B, L, D)
        return self.output(x.cumsum(1) / torch.arange(1, LENGTH + 1).view(1, -1, 1))  # (B, L, N)


class NextItem(Objective):
    """Cross-entropy of the next item, the mean over tokens; target 0 is padding."""

    def sizes(self, batch: Any) -> dict[str, Any]:
        return {"token": (batch[3] != 0).sum()}

    def forward(self, batch: Any, totals: Any) -> Loss:
        tokens, positions, times, targets = batch
        logits = self.model(tokens, positions, times)
        term = divide(F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0, reduction="sum"), totals["token"])
        return Loss(term, {"token": term})

    def n_row(self, batch: Any) -> int:
        return len(batch[0])

    def encode(self, batch: Any, side: str) -> Tensor:
        return torch.eye(N_ITEM, dtype=torch.float64)[batch] if side == "item" else self.model(*batch[:3])[:, -1]


class SequenceTrainer(Trainer):
    """Trains next-item prediction."""

    def make_objective(self, model: nn.Module) -> Objective:
        return NextItem(model)


class LearnedFocus(nn.Module):
    """A focal loss whose exponent is learned: ``mean of (1 - p_t)^gamma * -log p_t + gamma^2``."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, prediction: Tensor, y: Tensor) -> Tensor:
        p_t = torch.where(y > 0.5, prediction, 1 - prediction).clamp(min=1e-12)
        return ((1 - p_t) ** self.gamma * -p_t.log()).mean() + self.gamma.square()


class Probability(nn.Module):
    """One probability a row, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = EmbeddingLayer(FEATURES)
        self.output = nn.Linear(8, 1)
        self.double()

    def forward(self, x: Any) -> Tensor:
        return torch.sigmoid(self.output(self.embedding(x, FEATURES, squeeze_dim=True))).squeeze(1)


class FocusTrainer(CTRTrainer):
    """A click-through-rate trainer whose criterion has a parameter."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.criterion = LearnedFocus()


def sequences(row: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Four tensors: tokens, positions, times and targets, padded with 0 in front."""
    tokens = (row["item"][:, None] * torch.arange(1, LENGTH + 2) + row["user"][:, None]) % (N_ITEM - 1) + 1
    tokens[:, :2] *= (row["user"] % 2)[:, None]
    times = 0.01 * tokens[:, :-1].double()
    return tokens[:, :-1], torch.arange(LENGTH).expand(len(tokens), -1), times, tokens[:, 1:]


def with_x(label: str) -> Any:
    return lambda row: ({"user": row["user"], "item": row["item"]}, row[label])


def catalogue(metric: str, **options: Any) -> Any:
    return lambda: CatalogueScorer([torch.arange(N_ITEM)], [metric], **options)


def by_task() -> dict[str, list[str]]:
    return {"click": ["auc"], "watch": ["rmse"]}


MULTI_TASK = {"uncertainty": TwoTasks, "GradNorm": GradNorm, "MetaBalance": MetaBalance, "PCGrad": PCGrad}
#: Task -> how to make a batch of rows, its trainer, its model, and what a validation measures.
TASKS: dict[str, tuple[Any, Any, Any, Any]] = {
    name: (with_x("labels"), type(name, (MultiTaskTrainer,), {"objective_class": kind}), TwoHeads, by_task)
    for name, kind in MULTI_TASK.items()
} | {
    "two towers": (lambda row: (row["user"], row["item"]), RetrievalTrainer, Towers, catalogue("recall@3")),
    "next item": (sequences, SequenceTrainer, NextItemModel, catalogue("ndcg@5", relevant=lambda batch: batch[3][:, -1])),
    "criterion with a parameter": (with_x("click"), FocusTrainer, Probability, lambda: ["auc"]),
}


def trainer_of(task: str, folder: Any = None, **options: Any) -> Trainer:
    """A small trainer of one of the tasks, whose weights do not depend on anything else."""
    torch.manual_seed(0)
    _, kind, model, metrics = TASKS[task]
    settings = {"n_epoch": 3, "optimizer_params": {"lr": 0.05}, "earlystop_patience": 2, "progress": False} | options
    return kind(model(), model_path=folder, metrics=metrics(), **settings)


def loaders_of(task: str, size: int = 8) -> tuple[list[Any], list[Any]]:
    make = TASKS[task][0]
    return batches(make, 60, size), batches(make, 40, 10, seed=1, shared=False)
