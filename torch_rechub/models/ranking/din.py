"""DIN. Zhou et al., *Deep Interest Network for Click-Through Rate Prediction*, KDD 2018."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, ActivationUnit, EmbeddingLayer
from torch_rechub.models.arguments import arguments_of_mlp
from torch_rechub.models.base import RankingModel
from torch_rechub.models.histories import history_arguments, is_entry
from torch_rechub.types import Features, Scores

__all__ = ["DIN", "ActivationUnit"]


@named_arguments
class DIN(RankingModel):
    """A network that reads a history as its sum, weighted by the attention of the target.

    ``logit = MLP([v, t, features])`` with ``v = sum_j a(e_j, t) e_j`` (eq. 3, see :class:`~torch_rechub.basic.layers.ActivationUnit`) for
    each history, and Dice (eq. 4) in the network. Padding has no weight and takes no part in any statistic. Dense columns of ``features``
    are inputs of the network, too.

    Args:
        features: columns of the user and the context; may be empty.
        history_features: whole histories (pooling "concat"), the i-th one of the i-th target, whose table it should share.
        target_features: the columns of the target.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`; ``activation`` is "dice" where it is not given.
        attention_mlp_params: arguments of :class:`~torch_rechub.basic.layers.ActivationUnit` besides ``emb_dim``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: a history is no whole sequence or has another width than its target, or there is none.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SequenceFeature, SparseFeature
        >>> user, item = SparseFeature("user", 10, 4), SparseFeature("item", 20, 4, padding_idx=0)
        >>> history = SequenceFeature("history", 20, 4, pooling="concat", shared_with="item", padding_idx=0)
        >>> model = DIN([user], [history], [item], {"dims": [8]}, {"dims": [8]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "history": torch.tensor([[5, 0], [0, 0]])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        history_features: Sequence[Feature],
        target_features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        attention_mlp_params: Mapping[str, Any],
    ) -> None:
        super().__init__()
        others, self.history_features, self.target_features = history_arguments("DIN", features, history_features, target_features)
        self.columns: list[Feature] = [*self.target_features, *others]
        self.features: list[Feature] = [*others, *self.history_features, *self.target_features]
        self.all_dims = sum(feature.embed_dim for feature in self.features)
        self.embedding = EmbeddingLayer(self.features)
        if not isinstance(attention_mlp_params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"DIN: attention_mlp_params must be a dict, such as {{'dims': [36]}}; got {attention_mlp_params!r}.")
        units = (ActivationUnit(feature.embed_dim, **attention_mlp_params) for feature in self.history_features)
        self.attention_layers = nn.ModuleList(units)
        network: dict[str, Any] = {"activation": "dice"} | arguments_of_mlp("DIN", "mlp_params", mlp_params)
        self.mlp = MLP(self.all_dims, **network)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        interests = []
        for unit, history, target in zip(self.attention_layers, self.history_features, self.target_features, strict=False):
            entries = embedded.stacked([history]).squeeze(1)  # (B, L, D)
            interests.append(unit(entries, embedded.stacked([target]).squeeze(1), is_entry(x, history)))  # (B, D)
        return embedded.through(self.mlp, self.columns, leading=interests).squeeze(1)
