"""SDIM. Cao et al., *Sampling Is All You Need on Modeling Long-Term User Behaviors for CTR Prediction*, CIKM 2022."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, HashAttention
from torch_rechub.models.arguments import arguments_of_mlp
from torch_rechub.models.base import RankingModel
from torch_rechub.models.histories import history_arguments, is_entry
from torch_rechub.types import Features, Scores

__all__ = ["SDIM"]


@named_arguments
class SDIM(RankingModel):
    """A network that reads the entries of a long history with the hash of the target.

    ``logit = MLP([v, t, features])`` with ``v`` as in :class:`~torch_rechub.basic.layers.HashAttention`. Deviation: one network reads one
    history, where the paper has a short-term part by DIN's attention beside it. The hashes of a user's entries do not depend on the
    target, so that a service can keep the sums of each signature.

    Args:
        features: columns of the user and the context; may be empty.
        history_features: whole histories (pooling "concat") of one length, the i-th one of the i-th target. An entry of all of them side
            by side is hashed.
        target_features: the columns of the target.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`.
        n_hash: number of random projections.
        hash_bits: number of projections in a signature; it must divide ``n_hash``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: a history is no whole sequence or has another width than its target; ``hash_bits`` does not divide ``n_hash``.

    Example:
        >>> from torch_rechub.basic.features import SequenceFeature, SparseFeature
        >>> item = SparseFeature("item", 20, 4, padding_idx=0)
        >>> history = SequenceFeature("history", 20, 4, pooling="concat", shared_with="item", padding_idx=0)
        >>> SDIM([], [history], [item], {"dims": [8]})({"item": torch.tensor([3, 4]), "history": torch.tensor([[5, 0], [0, 0]])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        history_features: Sequence[Feature],
        target_features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        n_hash: int = 48,
        hash_bits: int = 3,
    ) -> None:
        super().__init__()
        others, self.history_features, targets = history_arguments("SDIM", features, history_features, target_features)
        self.paired = targets[: len(self.history_features)]  # the targets that have a history
        self.columns: list[Feature] = [*targets, *others]
        self.features: list[Feature] = [*others, *self.history_features, *targets]
        self.embedding = EmbeddingLayer(self.features)
        self.attention = HashAttention(sum(feature.embed_dim for feature in self.history_features), n_hash, hash_bits)
        self.mlp = MLP(sum(feature.embed_dim for feature in self.features), **arguments_of_mlp("SDIM", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        history = torch.cat([embedded.stacked([feature]).squeeze(1) for feature in self.history_features], dim=-1)  # (B, L, D)
        target = torch.cat([embedded.stacked([feature]).squeeze(1) for feature in self.paired], dim=-1)  # (B, D)
        mask = torch.stack([is_entry(x, feature) for feature in self.history_features]).any(0)  # (B, L)
        interest = self.attention(history, target, mask)
        return embedded.through(self.mlp, self.columns, leading=[interest]).squeeze(1)
