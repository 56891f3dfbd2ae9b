"""DeepFFM and FAT-DeepFFM. Zhang, Huang and Zhang, *FAT-DeepFFM: Field Attentive Deep Field-aware Factorization Machine*, 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch import check_features
from torch_rechub.basic.batch.packed import id_matrix
from torch_rechub.basic.features import DenseFeature, Feature, SparseFeature
from torch_rechub.basic.layers import CEN, FFM, MLP, EmbeddingLayer
from torch_rechub.models.arguments import arguments_of_mlp, only_fields, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DeepFFM", "FatDeepFFM"]


@named_arguments
class DeepFFM(RankingModel):
    """A linear part, and a network that reads the products of field-aware embeddings of all pairs of fields.

    ``logit = sum of linear weights + network(v_{i,j} * v_{j,i} for i < j) + b`` (eq. 5), where ``v_{i,j}`` is the embedding of field i for
    field j. Row ``id * F + j`` of a cross feature is the embedding of ``id`` for field j. Deviation: hidden layers are batch-normalised.
    Difference from the existing package: a dense column of the linear part has a weight that is learned; there it is always 1, as it is
    here after weights without it were loaded.

    Args:
        linear_features: columns of the linear part; give sparse features ``embed_dim=1``, which is one weight for each id (wider embeddings
            are summed).
        cross_features: the fields, sparse features of width ``embed_dim``, at least two. ``vocab_size`` is the number of ids times the
            number of fields, since each id has an embedding for each field.
        embed_dim: width of the embeddings of ``cross_features``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``linear_features`` is empty, a sequence has pooling "concat", ``cross_features`` are fewer than two, no sparse
            features, of another width than ``embed_dim``, or have a ``vocab_size`` that is no multiple of their number.

    Example:
        >>> linear = [SparseFeature("user", 10, 1), SparseFeature("item", 20, 1), DenseFeature("age")]
        >>> cross = [SparseFeature("user", 10 * 2, 4), SparseFeature("item", 20 * 2, 4)]
        >>> model = DeepFFM(linear, cross, embed_dim=4, mlp_params={"dims": [8], "dropout": 0.2})
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    fields_offset: Tensor

    def __init__(
        self, linear_features: Sequence[Feature], cross_features: Sequence[Feature], embed_dim: int, mlp_params: Mapping[str, Any]
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.linear_features = pooled_features(name, "linear_features", linear_features)
        self.cross_features = _cross_features(name, cross_features, embed_dim)
        self.features = self.linear_features + self.cross_features
        self.num_fields = len(self.cross_features)
        self.num_field_cross = self.num_fields * (self.num_fields - 1) // 2
        self._ids_of = tuple(replace(each, vocab_size=each.vocab_size // self.num_fields) for each in self.cross_features)
        self.ffm = FFM(self.num_fields, reduce_sum=False)
        self.mlp_out = MLP(self.num_field_cross * embed_dim, **arguments_of_mlp(name, "mlp_params", mlp_params))
        self.linear_embedding = EmbeddingLayer(self.linear_features)
        self.ffm_embedding = EmbeddingLayer(self.cross_features)
        self.b = nn.Parameter(torch.zeros(1))
        self.register_buffer("fields_offset", torch.arange(self.num_fields))
        self.dense_features: list[Feature] = [feature for feature in self.linear_features if isinstance(feature, DenseFeature)]
        self.linear_dense = _ones(sum(feature.embed_dim for feature in self.dense_features)) if self.dense_features else None
        self.register_load_state_dict_pre_hook(_add_weights_of_dense)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        return (self._linear(x) + self.mlp_out(self._crosses(x))).squeeze(1) + self.b

    def _linear(self, x: Features) -> Tensor:
        """The linear part, ``(B, 1)``."""
        columns = self.linear_embedding.look_up(x, self.linear_features)
        if self.linear_dense is None:
            return columns.flat(self.linear_features).sum(dim=1, keepdim=True)
        dense = columns.through(self.linear_dense, self.dense_features)
        sparse = [feature for feature in self.linear_features if feature not in self.dense_features]
        return dense + columns.flat(sparse).sum(dim=1, keepdim=True) if sparse else dense

    def _crosses(self, x: Features) -> Tensor:
        """What the network reads, ``(B, P * D)`` for P pairs."""
        return self._products(x).flatten(start_dim=1)

    def _products(self, x: Features) -> Tensor:
        """The products of the field-aware embeddings of all pairs, ``(B, P, D)``."""
        check_features(x, self._ids_of)
        names = tuple(feature.name for feature in self.cross_features)
        ids = id_matrix(x, names).long()  # (B, F)
        rows = (ids * self.num_fields).unsqueeze(2) + self.fields_offset  # (B, F, F)
        return self.ffm(self.ffm_embedding(dict(zip(names, rows.unbind(1), strict=True)), self.cross_features))


@named_arguments
class FatDeepFFM(DeepFFM):
    """:class:`DeepFFM` whose products are weighted by a compose-excitation network, :class:`~torch_rechub.basic.layers.CEN` (eq. 7-10).

    Deviation, as in the existing package: the paper weights the embeddings before they are multiplied, and compares this with weighting the
    products, as done here.

    Args:
        linear_features: see :class:`DeepFFM`.
        cross_features: see :class:`DeepFFM`.
        embed_dim: width of the embeddings of ``cross_features``.
        reduction_ratio: the hidden layer of the attention has as many units as there are pairs divided by this number, at least 1.
        mlp_params: see :class:`DeepFFM`.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: what :class:`DeepFFM` raises, or ``reduction_ratio`` is below 1.

    Example:
        >>> linear = [SparseFeature("user", 10, 1), SparseFeature("item", 20, 1)]
        >>> cross = [SparseFeature("user", 10 * 2, 4), SparseFeature("item", 20 * 2, 4)]
        >>> model = FatDeepFFM(linear, cross, embed_dim=4, reduction_ratio=1, mlp_params={"dims": [8]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        linear_features: Sequence[Feature],
        cross_features: Sequence[Feature],
        embed_dim: int,
        reduction_ratio: int,
        mlp_params: Mapping[str, Any],
    ) -> None:
        super().__init__(linear_features, cross_features, embed_dim, mlp_params)
        self.cen = CEN(embed_dim, self.num_field_cross, reduction_ratio)

    def _crosses(self, x: Features) -> Tensor:
        return self.cen(self._products(x))


def _cross_features(model: str, features: Sequence[Feature], embed_dim: int) -> list[SparseFeature]:
    listed: list[SparseFeature] = []
    fields = only_fields(model, "cross_features", features, at_least=2, remedy="Move it to linear_features.")
    for feature in fields:
        if not isinstance(feature, SparseFeature):
            raise ValueError(f"{model}: cross_features must be sparse features; got {feature!r}. Move it to linear_features.")
        if feature.embed_dim != embed_dim:
            raise ValueError(f"{model}: cross_features must have embed_dim={embed_dim}; got {feature!r}.")
        if feature.vocab_size % len(fields):
            rule = f"the number of ids times the number of cross features, {len(fields)}: each id has an embedding for each field"
            raise ValueError(f"{model}: vocab_size in cross_features must be {rule}; got {feature!r}.")
        listed.append(feature)
    return listed


def _ones(n_input: int) -> nn.Linear:
    layer = nn.Linear(n_input, 1, bias=False)
    nn.init.ones_(layer.weight)
    return layer


def _add_weights_of_dense(model: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Weights of the existing package have none for dense columns: they count as they are."""
    if isinstance(model, DeepFFM) and model.linear_dense is not None:
        state_dict.setdefault(f"{prefix}linear_dense.weight", torch.ones_like(model.linear_dense.weight))
