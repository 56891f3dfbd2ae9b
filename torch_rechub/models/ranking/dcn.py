"""DCN. Wang, Fu, Fu and Wang, *Deep & Cross Network for Ad Click Predictions*, ADKDD 2017."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import LR, MLP, CrossNetwork, EmbeddingLayer
from torch_rechub.models.arguments import hidden_layers, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DCN"]


@named_arguments
class DCN(RankingModel):
    """A cross network and a deep network side by side on the same embeddings.

    ``logit = w . [x_L, h_L] + b`` (eq. 5) with the cross layers ``x_{l+1} = x_0 (w_l . x_l) + b_l + x_l`` (eq. 3) and the hidden layers
    ``h_l`` (eq. 4). Deviation: eq. 5 has no ``b``. As in the paper, hidden layers are batch-normalised.

    Args:
        features: all columns; the input ``x_0`` holds the embedded ones first, then the dense ones.
        n_cross_layers: number of cross layers, at least 1.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``; None for the
            cross network alone.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty or has a sequence with pooling "concat", ``n_cross_layers`` is below 1, or ``mlp_params`` has no
            ``dims``.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import DenseFeature, SparseFeature
        >>> features = [SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), DenseFeature("age")]
        >>> model = DCN(features, n_cross_layers=2, mlp_params={"dims": [8], "dropout": 0.2})
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    def __init__(self, features: Sequence[Feature], n_cross_layers: int, mlp_params: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.features = pooled_features("DCN", "features", features)
        self.dims = sum(feature.embed_dim for feature in self.features)
        self.embedding = EmbeddingLayer(self.features)
        self.cn = CrossNetwork(self.dims, whole_number("DCN: n_cross_layers", n_cross_layers))
        self.mlp = None if mlp_params is None else MLP(self.dims, output_layer=False, **hidden_layers("DCN", "mlp_params", mlp_params))
        self.linear = LR(self.dims + (0 if self.mlp is None else self.mlp.output_dim))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        parts = [embedded.through(part, self.features) for part in (self.cn, self.mlp) if part is not None]
        return self.linear(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).squeeze(1)
