"""L1 and L2 penalties on weights, with separate coefficients for embedding tables and all other parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Real
from typing import Literal

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.layers.feature_embedding import is_part_of_table
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.torch_private import sparse_indices, sparse_values

__all__ = ["RegularizationLoss"]

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag, EmbeddingTable)
_NORMALISATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
)


@named_arguments
class RegularizationLoss(nn.Module):
    """``sum over weights of l1 * |w| + l2 * w^2``, with one pair of coefficients for embedding tables and one for all others.

    As in the existing package, there is no factor 1/2 and no division by the batch size. Parameters of normalisation layers and frozen
    parameters are not penalised. A weight that an embedding shares with another layer is penalised once, as an embedding. Deviation:
    ``SyncBatchNorm`` and ``RMSNorm`` count as normalisation layers too, so that the penalty of a model does not change when it is converted
    for several GPUs.

    A penalty on embedding tables reads every row at every step and gives a dense gradient, so the cost of a step grows with the
    vocabulary. Lagging rows of a row-wise optimizer are penalised by their up-to-date values. With ``embedding_rows="batch"`` each step
    penalises the rows that its batches read, each row once, and costs what these rows cost: the mini-batch aware regularization of Zhou
    et al., *Deep Interest Network*, KDD 2018, eq. 4-6, without its division by an id's number of occurrences. The trainer adds the gradient
    by :meth:`add_row_gradients`; the value of the penalty on the tables is in no loss then.

    Args:
        embedding_l1: coefficient of the absolute values in embedding tables, at least 0.
        embedding_l2: coefficient of the squares in embedding tables.
        dense_l1: coefficient of the absolute values of all other parameters, including biases.
        dense_l2: coefficient of the squares of all other parameters.
        embedding_rows: "all" penalises every row of the tables at every step; "batch" those that the step reads.

    Shape:
        a model -> scalar tensor, or the number 0.0 if no parameter is penalised.

    Raises:
        ValueError: a coefficient is negative or not finite, or ``embedding_rows`` is neither "all" nor "batch".

    Example:
        >>> penalty = RegularizationLoss(dense_l2=0.5)
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> penalty(model).item()
        1.0
    """

    def __init__(
        self,
        embedding_l1: float = 0.0,
        embedding_l2: float = 0.0,
        dense_l1: float = 0.0,
        dense_l2: float = 0.0,
        embedding_rows: Literal["all", "batch"] = "all",
    ) -> None:
        super().__init__()
        choice("embedding_rows", embedding_rows, ["all", "batch"])
        self.embedding_rows = embedding_rows
        coefficients = {"embedding_l1": embedding_l1, "embedding_l2": embedding_l2, "dense_l1": dense_l1, "dense_l2": dense_l2}
        for name, value in coefficients.items():
            if not (isinstance(value, Real) and value >= 0 and math.isfinite(value)):
                raise ValueError(f"RegularizationLoss: {name} must be a finite number >= 0; got {value!r}. Use 0.0 for no penalty.")
        self.embedding_l1 = embedding_l1
        self.embedding_l2 = embedding_l2
        self.dense_l1 = dense_l1
        self.dense_l2 = dense_l2

    @property
    def active(self) -> bool:
        """Whether any coefficient is above 0."""
        return any((self.embedding_l1, self.embedding_l2, self.dense_l1, self.dense_l2))

    def forward(self, model: nn.Module) -> Tensor | float:
        """The penalty on the current weights of ``model``."""
        return sum(self._terms(model), 0.0) if self.active else 0.0

    @torch.no_grad()
    def add_row_gradients(self, model: nn.Module) -> None:
        """With ``embedding_rows="batch"``, add the penalty's gradient of the rows that were read to the gradients of the tables.

        To call after ``backward()`` and before the optimizer's step. A row was read if its gradient is not zero, as that of padding is.
        """
        if self.embedding_rows == "all" or not (self.embedding_l1 or self.embedding_l2):
            return
        for weight in _embedding_weights(model):
            if weight.grad is None:
                continue
            if weight.grad.is_sparse:
                weight.grad = gradient = weight.grad.coalesce()
                rows = sparse_indices(gradient)[0]
                values = sparse_values(gradient)
                values += self._slope(weight.index_select(0, rows)) * values.any(dim=1, keepdim=True)
            else:
                weight.grad += self._slope(weight) * weight.grad.any(dim=1, keepdim=True)

    def _slope(self, weight: Tensor) -> Tensor:
        """The derivative of the penalty on tables."""
        slope = 2 * self.embedding_l2 * weight
        return slope.add_(weight.sign(), alpha=self.embedding_l1) if self.embedding_l1 else slope

    def _terms(self, model: nn.Module) -> Iterator[Tensor]:
        embeddings = _parameter_ids_of(model, _EMBEDDINGS)
        excluded = _parameter_ids_of(model, _NORMALISATIONS)
        tables = {id(module.weight): module for module in model.modules() if isinstance(module, EmbeddingTable)}
        for weight in model.parameters():
            if not weight.requires_grad or id(weight) in excluded:
                continue
            is_embedding = id(weight) in embeddings
            if is_embedding and self.embedding_rows == "batch":
                continue
            l1, l2 = (self.embedding_l1, self.embedding_l2) if is_embedding else (self.dense_l1, self.dense_l2)
            if is_embedding and (l1 > 0 or l2 > 0) and id(weight) in tables:
                weight = tables[id(weight)].all_rows()  # noqa: PLW2901  # the same weight with up-to-date rows
            if l1 > 0:
                yield l1 * weight.abs().sum()
            if l2 > 0:
                yield l2 * weight.square().sum()


def _embedding_weights(model: nn.Module) -> list[nn.Parameter]:
    """The trained weights of all embeddings."""
    ids = _parameter_ids_of(model, _EMBEDDINGS)
    return [weight for weight in model.parameters() if weight.requires_grad and id(weight) in ids]


def _parameter_ids_of(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> set[int]:
    own = (module for module in model.modules() if isinstance(module, kinds) and not is_part_of_table(module))
    return {id(weight) for module in own for weight in module.parameters()}
