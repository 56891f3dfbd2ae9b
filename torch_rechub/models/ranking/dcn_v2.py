"""DCN V2. Wang et al., *DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems*, WWW 2021."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from torch_rechub.arguments import choice, named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import LR, MLP, CrossNetMix, CrossNetV2, EmbeddingLayer
from torch_rechub.models.arguments import hidden_layers, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DCNv2"]


@named_arguments
class DCNv2(RankingModel):
    """A cross network with a weight matrix per layer, in front of a deep network, beside it, or alone.

    ``logit = w . x_final + b``, where ``x_final`` is ``[x_L, h_L]`` ("parallel"), ``h_L`` of a network that reads ``x_L`` ("stacked"), or
    ``x_L`` ("crossnet_only"; section 3.4). The cross layers are those of :class:`~torch_rechub.basic.layers.CrossNetV2` (eq. 1) or, with
    ``use_low_rank_mixture``, of :class:`~torch_rechub.basic.layers.CrossNetMix` (eq. 3-4), which name their deviations: the bias of eq. 1
    is not multiplied by ``x_0``, and the gates are a softmax that all layers share.

    Args:
        features: all columns; the input ``x_0`` holds the embedded ones first, then the dense ones.
        n_cross_layers: number of cross layers, at least 1.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``. With
            "crossnet_only" there is no network, and it may be None.
        model_structure: how the two networks are combined.
        use_low_rank_mixture: cross layers are gated mixtures of low-rank experts, which have fewer weights.
        low_rank: rank of an expert; without a mixture it is not used.
        num_experts: number of experts; without a mixture it is not used.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty or has a sequence with pooling "concat", a number is below 1, ``model_structure`` is none of the
            three, or ``mlp_params`` has no ``dims`` though there is a network.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import DenseFeature, SparseFeature
        >>> features = [SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), DenseFeature("age")]
        >>> model = DCNv2(features, n_cross_layers=2, mlp_params={"dims": [8], "dropout": 0.2}, low_rank=3)
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    def __init__(
        self,
        features: Sequence[Feature],
        n_cross_layers: int,
        mlp_params: Mapping[str, Any] | None,
        model_structure: Literal["parallel", "stacked", "crossnet_only"] = "parallel",
        use_low_rank_mixture: bool = True,
        low_rank: int = 32,
        num_experts: int = 4,
    ) -> None:
        super().__init__()
        choice("DCNv2: model_structure", model_structure, ["parallel", "stacked", "crossnet_only"])
        n_layer, rank, n_expert = (
            whole_number(f"DCNv2: {name}", value)
            for name, value in (("n_cross_layers", n_cross_layers), ("low_rank", low_rank), ("num_experts", num_experts))
        )
        self.features = pooled_features("DCNv2", "features", features)
        self.model_structure = model_structure
        self.dims = sum(feature.embed_dim for feature in self.features)
        self.embedding = EmbeddingLayer(self.features)
        self.crossnet = CrossNetMix(self.dims, n_layer, rank, n_expert) if use_low_rank_mixture else CrossNetV2(self.dims, n_layer)
        final_dim = self.dims
        if model_structure == "stacked":
            self.stacked_dnn = self._network(mlp_params)
            final_dim = self.stacked_dnn.output_dim
        elif model_structure == "parallel":
            self.parallel_dnn = self._network(mlp_params)
            final_dim += self.parallel_dnn.output_dim
        self.linear = LR(final_dim)

    def _network(self, mlp_params: Mapping[str, Any] | None) -> MLP:
        return MLP(self.dims, output_layer=False, **hidden_layers("DCNv2", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        final = embedded.through(self.crossnet, self.features)  # (B, d)
        if self.model_structure == "stacked":
            final = self.stacked_dnn(final)
        elif self.model_structure == "parallel":
            final = torch.cat([final, embedded.through(self.parallel_dnn, self.features)], dim=1)
        return self.linear(final).squeeze(1)
