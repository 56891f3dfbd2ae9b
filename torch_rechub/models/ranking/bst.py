"""BST. Chen, Zhao, Li, Huang and Ou, *Behavior Sequence Transformer for E-commerce Recommendation in Alibaba*, DLP-KDD 2019."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, LastPositionTransformer
from torch_rechub.models.arguments import arguments_of_mlp
from torch_rechub.models.base import RankingModel
from torch_rechub.models.histories import history_arguments, is_entry
from torch_rechub.types import Features, Scores

__all__ = ["BST"]


@named_arguments
class BST(RankingModel):
    """A transformer over a history and the target behind it, whose output at the target goes into a network.

    ``logit = MLP([F(e_1 + p_1, ..., e_n + p_n, t + p_t), t, features])`` with the layers ``F`` of eq. 3-8. Deviations, as in the existing
    package: the positions ``p`` are those in the list, where the paper has the times between an entry and the target; only the output at
    the target is read; the network's activation is ReLU, not leaky ReLU. The entries of a history count from the first one that is no
    padding, and the target has the last position, ``max_seq_len - 1``, so that no prediction depends on padding.

    Args:
        features: columns of the user and the context; may be empty.
        history_features: whole histories (pooling "concat") of one length, the i-th one of the i-th target, whose table it should share.
            An entry of all of them side by side is one position; it is padding where all are.
        target_features: the columns of the target, as many as histories.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`.
        nhead: number of heads; it must divide the sum of the histories' widths.
        dropout: probability of a zero in the transformer, in [0, 1).
        num_layers: number of transformer layers.
        max_seq_len: largest length of a history plus 1, for the target.
        positions: "from_first" numbers the entries from the oldest one, as the existing package does; "from_target" numbers them back from
            the target, so that the latest one always has the same position, as times to the target have it.
        dim_feedforward: width of the network in a transformer layer.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: a history is no whole sequence or has another width than its target; ``nhead`` does not divide the width; in the forward
            pass, histories are longer than ``max_seq_len - 1`` or differ in length.

    Example:
        >>> from torch_rechub.basic.features import SequenceFeature, SparseFeature
        >>> user, item = SparseFeature("user", 10, 4), SparseFeature("item", 20, 4, padding_idx=0)
        >>> history = SequenceFeature("history", 20, 4, pooling="concat", shared_with="item", padding_idx=0)
        >>> model = BST([user], [history], [item], {"dims": [8]}, nhead=2, max_seq_len=6)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "history": torch.tensor([[5, 0], [0, 0]])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        history_features: Sequence[Feature],
        target_features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        nhead: int = 8,
        dropout: float = 0.2,
        num_layers: int = 1,
        max_seq_len: int = 51,
        *,
        positions: Literal["from_first", "from_target"] = "from_first",
        dim_feedforward: int = 2048,
    ) -> None:
        super().__init__()
        others, self.history_features, self.target_features = history_arguments("BST", features, history_features, target_features)
        choice("BST: positions", positions, ["from_first", "from_target"])
        self.item_dim = sum(feature.embed_dim for feature in self.history_features)
        self.max_seq_len = whole_number("BST: max_seq_len", max_seq_len, 2)
        self.positions = positions
        _check_heads(self.item_dim, sum(feature.embed_dim for feature in self.target_features), whole_number("BST: nhead", nhead))
        self.columns: list[Feature] = [*self.target_features, *others]
        self.features: list[Feature] = [*others, *self.history_features, *self.target_features]
        self.all_dims = sum(feature.embed_dim for feature in self.features)
        self.embedding = EmbeddingLayer(self.features)
        self.pos_embedding = nn.Embedding(self.max_seq_len, self.item_dim)
        depth, width = whole_number("BST: num_layers", num_layers), whole_number("BST: dim_feedforward", dim_feedforward)
        self.transformer_layers = LastPositionTransformer(self.item_dim, nhead, depth, dropout, width)
        self.mlp = MLP(self.all_dims, **arguments_of_mlp("BST", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        histories = [embedded.stacked([feature]).squeeze(1) for feature in self.history_features]  # (B, L, D) each
        _check_lengths([history.shape[1] for history in histories], self.max_seq_len)
        target = torch.cat([embedded.stacked([feature]).squeeze(1) for feature in self.target_features], dim=-1)  # (B, D)
        mask = torch.stack([is_entry(x, feature) for feature in self.history_features]).any(0)  # (B, L)
        sequence = torch.cat([torch.cat(histories, dim=-1), target.unsqueeze(1)], dim=1)  # (B, L + 1, D)
        counts = torch.cat([mask, mask.new_ones(mask.shape[0], 1)], dim=1)
        interest = self.transformer_layers(sequence + self.pos_embedding(self._positions(mask)), counts)  # (B, D)
        return embedded.through(self.mlp, self.columns, leading=[interest]).squeeze(1)

    def _positions(self, mask: Tensor) -> Tensor:
        """The positions ``(B, L + 1)`` of the entries and of the target; those of padding are any."""
        rank, n_entry = mask.long().cumsum(1), mask.long().sum(1, keepdim=True)  # rank 1 is the oldest entry
        if self.positions == "from_first":
            return torch.cat([(rank - 1).clamp(min=0), torch.full_like(n_entry, self.max_seq_len - 1)], dim=1)
        return torch.cat([n_entry - rank + 1, torch.zeros_like(n_entry)], dim=1)


def _check_heads(item_dim: int, target_dim: int, nhead: int) -> None:
    if item_dim != target_dim:
        raise ValueError(f"BST: history_features and target_features must have one sum of embed_dim; got {item_dim} and {target_dim}.")
    if item_dim % nhead:
        raise ValueError(f"BST: nhead must divide the sum of embed_dim of history_features, {item_dim}; got {nhead}.")


def _check_lengths(lengths: list[int], max_seq_len: int) -> None:
    if len(set(lengths)) > 1:
        raise ValueError(f"BST: all histories of a batch must have one length; got {lengths}. Pad them alike.")
    if lengths[0] >= max_seq_len:
        raise ValueError(f"BST: histories must be at most max_seq_len - 1 = {max_seq_len - 1} long; got {lengths[0]}. Raise max_seq_len.")
