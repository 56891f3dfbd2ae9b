"""DNN: a plain network of embeddings, as the ranking network of YouTube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer
from torch_rechub.models.arguments import arguments_of_mlp, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["DNN"]


@named_arguments
class DNN(RankingModel):
    """A network of all embeddings and numbers side by side.

    Covington, Adams and Sargin, *Deep Neural Networks for YouTube Recommendations*, RecSys 2016, section 4, the ranking network; benchmarks
    list it as YoutubeDNN. Deviations: labels are clicks, and rows are weighted only where the loader has weights (the paper weighs
    positives by watch time); numbers are read as they are (the paper normalises them by quantiles, and adds squares and roots).

    Args:
        features: all columns, of any widths.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty, or a sequence has pooling "concat".

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = DNN([SparseFeature("user", 10, 4), SparseFeature("item", 20, 8)], {"dims": [8, 4]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, features: Sequence[Feature], mlp_params: Mapping[str, Any]) -> None:
        super().__init__()
        self.features = pooled_features("DNN", "features", features)
        self.embedding = EmbeddingLayer(self.features)
        self.mlp = MLP(sum(feature.embed_dim for feature in self.features), **arguments_of_mlp("DNN", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        return self.embedding.look_up(x, self.features).through(self.mlp, self.features).squeeze(1)
