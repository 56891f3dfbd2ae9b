"""A plain torch DeepFM in a plain loop, with which our step is compared. It never changes, so that ratios of all commits compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["PlainDeepFM", "train"]

Rows = tuple[Tensor, Tensor, Tensor]


class PlainDeepFM(nn.Module):
    """One ``nn.Embedding`` a column; first order, pairs and network are added to a logit, as in our DeepFM.

    Args:
        sizes: ids of each sparse column.
        n_dense: dense columns.
        width: of the embeddings.
        dims: of the network's hidden layers.
        dropout: behind each of them.
    """

    def __init__(self, sizes: Sequence[int], n_dense: int, width: int = 16, dims: Sequence[int] = (256, 128), dropout: float = 0.2) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=1e-4)
        self.linear = nn.Linear(len(sizes) * width, 1)
        layers: list[nn.Module] = []
        n_in = len(sizes) * width + n_dense
        for n_out in dims:
            layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU(), nn.Dropout(dropout)]
            n_in = n_out
        self.network = nn.Sequential(*layers, nn.Linear(n_in, 1))

    def forward(self, ids: Tensor, dense: Tensor) -> Tensor:
        fields = torch.stack([embedding(ids[:, number]) for number, embedding in enumerate(self.embeddings)], 1)  # (B, F, D)
        flat = fields.flatten(1)
        pairs = 0.5 * (fields.sum(1).square() - fields.square().sum(1)).sum(1, keepdim=True)
        return (self.linear(flat) + pairs + self.network(torch.cat([flat, dense], 1))).squeeze(1)


def train(model: PlainDeepFM, optimizer: torch.optim.Optimizer, batches: Iterable[Rows]) -> None:
    """One pass over given batches."""
    model.train()
    for ids, dense, y in batches:
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(ids, dense), y).backward()
        optimizer.step()
