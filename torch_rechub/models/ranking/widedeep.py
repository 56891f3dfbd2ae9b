"""Wide & Deep. Cheng et al., *Wide & Deep Learning for Recommender Systems*, DLRS 2016."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import LR, MLP, EmbeddingLayer, FeatureLinear
from torch_rechub.models.arguments import arguments_of_mlp, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["WideDeep"]


@named_arguments
class WideDeep(RankingModel):
    """A linear model of ids and their crosses, and a network of embeddings, trained together.

    ``logit = w_wide . [x, phi(x)] + w_deep . a + b`` (eq. 3), where ``a`` is the last hidden layer (eq. 2). A cross-product transformation
    of eq. 1 is a column of its own: encode the pair as an id and list it in ``wide_features``. Deviations, as in the existing package: the
    linear part has one weight per entry of the embeddings, where the paper has one per id (``linear="id"``); hidden layers are
    batch-normalised (``norm=None`` in ``mlp_params`` is the paper's). The paper trains the linear part by FTRL, which is the optimizer's.

    Args:
        wide_features: columns of the linear part.
        deep_features: columns of the network; its input holds the embedded ones first, then the dense ones.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        linear: what has a weight in the linear part: each entry of the embeddings, which both parts share, or each id.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: a list of features is empty or has a sequence with pooling "concat", or ``linear`` is neither of the two.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import DenseFeature, SparseFeature
        >>> user, item, pair = SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), SparseFeature("user x item", 200, 4)
        >>> model = WideDeep([user, item, pair], [user, item, DenseFeature("age")], {"dims": [8], "dropout": 0.2})
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> x["user x item"] = x["user"] * 20 + x["item"]
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    def __init__(
        self,
        wide_features: Sequence[Feature],
        deep_features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        *,
        linear: Literal["embedding", "id"] = "embedding",
    ) -> None:
        super().__init__()
        choice("WideDeep: linear", linear, ["embedding", "id"])
        self.wide_features = pooled_features("WideDeep", "wide_features", wide_features)
        self.deep_features = pooled_features("WideDeep", "deep_features", deep_features)
        self.features = self.wide_features + self.deep_features
        self.wide_dims = sum(feature.embed_dim for feature in self.wide_features)
        self.deep_dims = sum(feature.embed_dim for feature in self.deep_features)
        self.linear = FeatureLinear(self.wide_features) if linear == "id" else LR(self.wide_dims)
        self.embedding = EmbeddingLayer(self.deep_features if linear == "id" else self.features)
        self.mlp = MLP(self.deep_dims, **arguments_of_mlp("WideDeep", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.embedding.features)
        wide = self.linear(x) if isinstance(self.linear, FeatureLinear) else embedded.through(self.linear, self.wide_features)
        return (wide + embedded.through(self.mlp, self.deep_features)).squeeze(1)
