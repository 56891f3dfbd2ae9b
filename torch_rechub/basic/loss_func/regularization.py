"""A penalty on large weights, apart for embedding tables and for everything else."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from torch_rechub.basic.layers.table import EmbeddingTable

__all__ = ["RegularizationLoss"]

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag, EmbeddingTable)
_NORMALISATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
)


class RegularizationLoss(nn.Module):
    """``sum over weights of l1 * |w| + l2 * w^2``, with one pair of coefficients for embedding tables and one for the rest.

    There is no factor 1/2 and no division by the batch, as in the existing package. Parameters of normalisation layers and frozen
    parameters count for nothing; a weight that is both an embedding's and another layer's counts once, as an embedding. Deviation:
    ``SyncBatchNorm`` and ``RMSNorm`` are normalisation layers too, so that a model converted for several GPUs keeps its penalty.

    A penalty on embedding tables reads every row at every step and gives a dense gradient, so a step's cost grows with the vocabulary.
    Rows that a row-wise optimizer lets lag count with their up-to-date values.

    Args:
        embedding_l1: weight of the absolute values in embedding tables, at least 0.
        embedding_l2: weight of the squares in embedding tables.
        dense_l1: weight of the absolute values elsewhere, biases among them.
        dense_l2: weight of the squares elsewhere.

    Shape:
        a model -> scalar tensor; the number 0.0 where there is nothing to add.

    Raises:
        ValueError: when a coefficient is negative or not finite.

    Example:
        >>> penalty = RegularizationLoss(dense_l2=0.5)
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> penalty(model).item()
        1.0
    """

    def __init__(self, embedding_l1: float = 0.0, embedding_l2: float = 0.0, dense_l1: float = 0.0, dense_l2: float = 0.0) -> None:
        super().__init__()
        given = {"embedding_l1": embedding_l1, "embedding_l2": embedding_l2, "dense_l1": dense_l1, "dense_l2": dense_l2}
        for name, value in given.items():
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"RegularizationLoss: {name} must be a finite number >= 0; got {value!r}. Use 0.0 to switch it off.")
        self.embedding_l1 = embedding_l1
        self.embedding_l2 = embedding_l2
        self.dense_l1 = dense_l1
        self.dense_l2 = dense_l2

    @property
    def active(self) -> bool:
        """Whether any coefficient is above 0."""
        return any((self.embedding_l1, self.embedding_l2, self.dense_l1, self.dense_l2))

    def forward(self, model: nn.Module) -> Tensor | float:
        """The penalty of ``model``'s weights as they are now."""
        return sum(self._terms(model), 0.0) if self.active else 0.0

    def _terms(self, model: nn.Module) -> Iterator[Tensor]:
        embeddings = _owned_by(model, _EMBEDDINGS)
        skipped = _owned_by(model, _NORMALISATIONS)
        tables = {id(module.weight): module for module in model.modules() if isinstance(module, EmbeddingTable)}
        for weight in model.parameters():
            if not weight.requires_grad or id(weight) in skipped:
                continue
            of_table = id(weight) in embeddings
            l1, l2 = (self.embedding_l1, self.embedding_l2) if of_table else (self.dense_l1, self.dense_l2)
            if of_table and (l1 > 0 or l2 > 0) and id(weight) in tables:
                weight = tables[id(weight)].all_rows()  # noqa: PLW2901  # the same weight, none of its rows lagging
            if l1 > 0:
                yield l1 * weight.abs().sum()
            if l2 > 0:
                yield l2 * weight.square().sum()


def _owned_by(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> set[int]:
    return {id(weight) for module in model.modules() if isinstance(module, kinds) for weight in module.parameters()}
