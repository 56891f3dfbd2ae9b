"""FiBiNET. Huang, Zhang and Zhang, *FiBiNET: Combining Feature Importance and Bilinear Feature Interaction*, RecSys 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import MLP, BiLinearInteractionLayer, EmbeddingLayer, FeatureLinear, SENETLayer
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["FiBiNet"]


@named_arguments
class FiBiNet(RankingModel):
    """Bilinear interactions of the fields, as they are and scaled by their importance, in front of a network.

    The fields are scaled by :class:`~torch_rechub.basic.layers.SENETLayer` (eq. 2-4), both sets are crossed by
    :class:`~torch_rechub.basic.layers.BiLinearInteractionLayer` (eq. 5-7), and a network reads all crosses. Deviations, as in the existing
    package: both sets have the same matrices; the paper adds a linear part, which ``linear="id"`` does; hidden layers are batch-normalised.
    Difference from the existing package, whose weights load where there are no dense columns: it drops dense columns; here the network
    reads them behind the crosses. A shared sparse feature and a pooled sequence are fields too; there they are an error.

    Args:
        features: all columns; the sparse features and pooled sequences are the fields, at least two, of one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        reduction_ratio: the bottleneck that computes the importances has F divided by this number units, at least 1.
        bilinear_type: whether all pairs share a matrix, or there is one for each first field, or one for each pair.
        linear: the linear part: None has none, "id" has one weight for each id and each dense column.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two fields, their widths differ, or one has pooling "concat"; ``reduction_ratio`` is not above 0,
            or ``bilinear_type`` or ``linear`` has an unknown value.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> features = [SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), DenseFeature("age")]
        >>> model = FiBiNet(features, {"dims": [8], "dropout": 0.2}, bilinear_type="field_all")
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        reduction_ratio: float = 3,
        bilinear_type: Literal["field_all", "field_each", "field_interaction"] = "field_interaction",
        *,
        linear: Literal["id"] | None = None,
    ) -> None:
        super().__init__()
        choice("FiBiNet: linear", linear, ["id", None])
        self.features = pooled_features("FiBiNet", "features", features)
        self.dense_features = [feature for feature in self.features if isinstance(feature, DenseFeature)]
        self.fields = fields_of("FiBiNet", "features", self.features, at_least=2)
        n_field, width = len(self.fields), self.fields[0].embed_dim
        self.embedding = EmbeddingLayer(self.features)
        self.senet_layer = SENETLayer(n_field, reduction_ratio)
        self.bilinear_interaction = BiLinearInteractionLayer(width, n_field, bilinear_type)
        self.dims = n_field * (n_field - 1) * width + sum(feature.embed_dim for feature in self.dense_features)
        self.mlp = MLP(self.dims, **arguments_of_mlp("FiBiNet", "mlp_params", mlp_params))
        self.linear = FeatureLinear(self.features) if linear == "id" else None

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        fields = embedded.stacked(self.fields)  # (B, F, D)
        crosses = [self.bilinear_interaction(each).flatten(start_dim=1) for each in (fields, self.senet_layer(fields))]
        dense = [embedded.flat(self.dense_features)] if self.dense_features else []
        deep = self.mlp(torch.cat([*crosses, *dense], dim=1))  # (B, 1)
        return (deep if self.linear is None else deep + self.linear(x)).squeeze(1)
