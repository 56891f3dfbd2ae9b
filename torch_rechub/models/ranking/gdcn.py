"""GDCN. Wang, Gu, Zhang, Lu and Gu, *Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction*, CIKM 2023."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, GatedCrossNetwork
from torch_rechub.models.arguments import arguments_of_mlp, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["GDCN"]


@named_arguments
class GDCN(RankingModel):
    """A gated cross network beside or below a deep network.

    ``c_{l+1} = c_0 * (W_c c_l + b) * sigmoid(W_g c_l) + c_l`` (eq. 2). "stacked" (GDCN-S) feeds the last cross to the network;
    "parallel" (GDCN-P) gives both the input, and a linear layer reads both outputs side by side (section 4.3).

    Args:
        features: all columns.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        n_cross_layers: number of cross layers.
        model_structure: "parallel" or "stacked".

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty, a sequence has pooling "concat", or ``model_structure`` is none of the two.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = GDCN([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        n_cross_layers: int = 3,
        model_structure: Literal["parallel", "stacked"] = "parallel",
    ) -> None:
        super().__init__()
        choice("GDCN: model_structure", model_structure, ["parallel", "stacked"])
        self.features = pooled_features("GDCN", "features", features)
        self.model_structure = model_structure
        self.embedding = EmbeddingLayer(self.features)
        arguments, width = arguments_of_mlp("GDCN", "mlp_params", mlp_params), sum(feature.embed_dim for feature in self.features)
        self.cross = GatedCrossNetwork(width, n_cross_layers)
        is_stacked = model_structure == "stacked"
        self.mlp = MLP(width, output_layer=is_stacked, **arguments)
        n_deep = (arguments.get("dims") or [width])[-1]  # without hidden layers the network gives its input
        self.fc = None if is_stacked else nn.Linear(width + n_deep, 1)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        crossed = embedded.through(self.cross, self.features)
        if self.fc is None:
            return self.mlp(crossed).squeeze(1)
        deep = embedded.through(self.mlp, self.features)
        return self.fc(torch.cat([crossed, deep], dim=1)).squeeze(1)
