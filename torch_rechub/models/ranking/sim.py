"""SIM. Pi et al., *Search-based User Interest Modeling with Lifelong Sequential Behavior Data for CTR Prediction*, CIKM 2020."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.batch import check_features
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, TargetAttention
from torch_rechub.models.arguments import arguments_of_mlp
from torch_rechub.models.base import RankingModel
from torch_rechub.models.histories import history_arguments, is_entry, padding_id
from torch_rechub.types import Features, Scores

__all__ = ["SIM"]


@named_arguments
class SIM(RankingModel):
    """The entries of a long history that have the target's category, and the latest ones, each read by the target's attention.

    ``logit = MLP([long, short, t, features])``. The general search unit keeps the latest ``n_retrieved`` entries whose category is that of
    the target (hard search, eq. 1); the exact search unit reads them by the attention of several heads (eq. 5). Only what the search keeps
    is looked up, so the cost of a long history is that of comparing its ids. Deviations: the short-term part is the same attention to the
    latest ``n_recent`` entries, where the paper has DIEN; entries have no times.

    Args:
        features: columns of the user and the context; may be empty.
        history_features: whole histories (pooling "concat") of one length, the latest entry last, the i-th one of the i-th target.
        target_features: the columns of the target.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`.
        search_feature: name of the history that holds the categories; an entry is kept where its id is that of the target.
        n_retrieved: largest number of entries that the search keeps.
        n_recent: number of latest entries that the short-term part reads.
        num_heads: number of heads of each attention.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: a history is no whole sequence or has another width than its target; ``search_feature`` is none of the histories.

    Example:
        >>> from torch_rechub.basic.features import SequenceFeature, SparseFeature
        >>> item, kind = SparseFeature("item", 20, 4, padding_idx=0), SparseFeature("kind", 5, 4, padding_idx=0)
        >>> items, kinds = (SequenceFeature(f"{t.name}s", t.vocab_size, 4, "concat", t.name, 0) for t in (item, kind))
        >>> model = SIM([], [items, kinds], [item, kind], {"dims": [8]}, search_feature="kinds", n_retrieved=2, n_recent=2)
        >>> x = {"item": torch.tensor([3]), "kind": torch.tensor([1])}
        >>> model.eval()(x | {"items": torch.tensor([[5, 6, 7]]), "kinds": torch.tensor([[1, 2, 1]])}).shape
        torch.Size([1])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        history_features: Sequence[Feature],
        target_features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        search_feature: str,
        n_retrieved: int = 50,
        n_recent: int = 20,
        num_heads: int = 2,
    ) -> None:
        super().__init__()
        others, self.history_features, targets = history_arguments("SIM", features, history_features, target_features)
        names = [feature.name for feature in self.history_features]
        if search_feature not in names:
            raise ValueError(f"SIM: search_feature must be the name of one of history_features, {names}; got {search_feature!r}.")
        place = names.index(search_feature)
        self.categories, self.category = self.history_features[place], targets[place]
        self.paired = targets[: len(names)]  # the targets that have a history
        self.n_retrieved, self.n_recent = whole_number("SIM: n_retrieved", n_retrieved), whole_number("SIM: n_recent", n_recent)
        self.columns: list[Feature] = [*targets, *others]
        self.features: list[Feature] = [*others, *self.history_features, *targets]
        self.embedding = EmbeddingLayer(self.features)
        width = sum(feature.embed_dim for feature in self.history_features)
        self.long, self.short = TargetAttention(width, num_heads), TargetAttention(width, num_heads)
        n_input = 2 * self.long.num_heads * width + sum(feature.embed_dim for feature in self.columns)
        self.mlp = MLP(n_input, **arguments_of_mlp("SIM", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        check_features(x, self.features)  # the ids that the search leaves out too
        entries = torch.stack([is_entry(x, feature) for feature in self.history_features]).any(0)  # (B, L)
        matches = entries & (x[self.categories.name].long() == x[self.category.name].long().reshape(-1, 1))
        found, is_found = _latest(matches, self.n_retrieved)
        recent, is_recent = _latest(entries, self.n_recent)
        places, counts = torch.cat([found, recent], dim=1), torch.cat([is_found, is_recent], dim=1)
        kept = {feature.name: x[feature.name] for feature in self.columns}
        for feature in self.history_features:
            kept[feature.name] = x[feature.name].long().gather(1, places).masked_fill(~counts, padding_id(feature))
        embedded = self.embedding.look_up(kept, self.features)
        history = torch.cat([embedded.stacked([feature]).squeeze(1) for feature in self.history_features], dim=-1)  # (B, K, D)
        target = torch.cat([embedded.stacked([feature]).squeeze(1) for feature in self.paired], dim=-1)  # (B, D)
        n = found.shape[1]
        interests = [self.long(history[:, :n], target, is_found), self.short(history[:, n:], target, is_recent)]
        return embedded.through(self.mlp, self.columns, leading=interests).squeeze(1)


def _latest(mask: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The places ``(B, K)`` of the last ``n`` entries where ``mask`` is True, and which of them are one."""
    order = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    last = torch.topk(mask * order, min(n, mask.shape[1]), dim=1)
    return last.indices, last.values > 0
