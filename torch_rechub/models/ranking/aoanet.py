"""AOANet. Lang et al., *Architecture and Operation Adaptive Network for Online Recommendations*, KDD 2021."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["AOANet", "GeneralizedInteraction"]


class GeneralizedInteraction(nn.Module):
    """``y_o = (W_o * sum_{f,i} a_{fi,o} x_f z_i^T) h_o`` for each subspace o: outer products with learned weights and a learned operation.

    ``x`` are the fields, ``z`` the output of the layer before. The sum over i is computed first and ``W_o * h_o^T`` is one matrix, so that
    no tensor of outer products ``(B, F * I, D, D)`` is made.

    Args:
        num_fields: number of fields, F.
        num_inputs: number of vectors of the layer before, I.
        num_subspaces: number of output vectors, O.
        embed_dim: width of an embedding, D.

    Shape:
        ``(B, F, D)`` and ``(B, I, D)`` -> ``(B, O, D)``.
    """

    def __init__(self, num_fields: int, num_inputs: int, num_subspaces: int, embed_dim: int) -> None:
        super().__init__()
        self.operation = nn.Parameter(torch.eye(embed_dim).repeat(num_subspaces, 1, 1))  # W, (O, D, D)
        self.pairs = nn.Parameter(torch.ones(num_subspaces, num_fields, num_inputs))  # a
        self.projection = nn.Parameter(torch.ones(num_subspaces, 1, embed_dim))  # h

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """The vectors of all subspaces."""
        n_subspace, n_field, n_input = self.pairs.shape
        inputs = z.transpose(1, 2).reshape(-1, n_input)  # (B * D, I)
        sums = (inputs @ self.pairs.view(-1, n_input).t()).view(-1, x.shape[2], n_subspace, n_field)  # (B, D, O, F)
        fields = torch.einsum("bdof,bfe->bode", sums, x)  # over the fields: sum_{f,i} a x_f z_i^T, transposed
        return (fields * (self.operation * self.projection).transpose(1, 2)).sum(2)


@named_arguments
class AOANet(RankingModel):
    """A network and layers of generalized interactions, whose last outputs side by side go through one linear layer.

    Deviations: the interactions are weighted by what is trained alone (the paper also prunes them by a second stage of training, which
    searches the architecture), and the network also reads dense columns.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        num_interaction_layers: number of interaction layers.
        num_subspaces: number of vectors that each of them gives.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two embedded features, their widths differ, a sequence has pooling "concat", or a number is
            below 1.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = AOANet([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, num_subspaces=2)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self, features: Sequence[Feature], mlp_params: Mapping[str, Any], num_interaction_layers: int = 3, num_subspaces: int = 4
    ) -> None:
        super().__init__()
        n_layer = whole_number("AOANet: num_interaction_layers", num_interaction_layers)
        n_subspace = whole_number("AOANet: num_subspaces", num_subspaces)
        self.features = pooled_features("AOANet", "features", features)
        self.fields = fields_of("AOANet", "features", self.features, at_least=2)
        self.embedding = EmbeddingLayer(self.features)
        n_field, width = len(self.fields), self.fields[0].embed_dim
        sizes = [n_field, *[n_subspace] * (n_layer - 1)]
        self.interactions = nn.ModuleList([GeneralizedInteraction(n_field, size, n_subspace, width) for size in sizes])
        n_column = sum(feature.embed_dim for feature in self.features)
        arguments = arguments_of_mlp("AOANet", "mlp_params", mlp_params)
        self.mlp = MLP(n_column, output_layer=False, **arguments)
        n_hidden = (arguments.get("dims") or [n_column])[-1]
        self.fc = nn.Linear(n_hidden + n_subspace * width, 1)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        vectors = embedded.stacked(self.fields)
        interacted = vectors
        for interact in self.interactions:
            interacted = interact(vectors, interacted)
        return self.fc(torch.cat([embedded.through(self.mlp, self.features), interacted.flatten(1)], dim=1)).squeeze(1)
