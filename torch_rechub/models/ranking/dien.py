"""DIEN. Zhou et al., *Deep Interest Evolution Network for Click-Through Rate Prediction*, AAAI 2019."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import AUGRU, MLP, AUGRU_Cell, EmbeddingLayer
from torch_rechub.models.arguments import arguments_of_mlp
from torch_rechub.models.base import AuxiliaryLossModel
from torch_rechub.models.histories import histories_of, history_arguments, is_entry
from torch_rechub.types import Features, Scores

__all__ = ["AUGRU", "AUGRU_Cell", "DIEN"]


@named_arguments
class DIEN(AuxiliaryLossModel):
    """Two recurrent layers over a history: the interests, and how those that the target attends to evolve.

    ``logit = MLP([h, t, features])``: a GRU (eq. 2-5) gives the interest after each entry, and an AUGRU (eq. 14, 16-17) of them the last
    state ``h``, for each history; Dice is the network's activation. In training ``alpha * L_aux`` is added to the loss: an interest should
    have a large inner product with the next entry and a small one with an entry that was not clicked (eq. 6-7). Deviation: eq. 6 sums
    over the entries of a history; here it is their mean, then the mean over rows, so that ``alpha`` does not depend on the length, and
    batches that share an optimizer step add up to one large batch. Padding may lie anywhere: it changes no state and has no loss.

    Args:
        features: columns of the user and the context; may be empty.
        history_features: whole histories (pooling "concat"), the i-th one of the i-th target, whose table it should share.
        neg_history_features: for each history one of the same length that was not clicked. Only training reads it.
        target_features: the columns of the target.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`; ``activation`` is "dice" where it is not given.
        alpha: the weight of the auxiliary loss, at least 0.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: a history is no whole sequence, has another width than its target, or there is none; the lists of histories differ in
            number or width; ``alpha`` is negative.

    Example:
        >>> from torch_rechub.basic.features import SequenceFeature, SparseFeature
        >>> item = SparseFeature("item", 20, 4, padding_idx=0)
        >>> clicked, other = (SequenceFeature(n, 20, 4, "concat", shared_with="item", padding_idx=0) for n in ("clicked", "other"))
        >>> model = DIEN([], [clicked], [other], [item], {"dims": [8]}).eval()
        >>> model({"item": torch.tensor([3, 4]), "clicked": torch.tensor([[5, 7, 0], [0, 0, 0]])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        history_features: Sequence[Feature],
        neg_history_features: Sequence[Feature],
        target_features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        alpha: float = 0.2,
    ) -> None:
        super().__init__()
        others, self.history_features, self.target_features = history_arguments("DIEN", features, history_features, target_features)
        self.neg_history_features = histories_of("DIEN", "neg_history_features", neg_history_features)
        widths, negative = ([f.embed_dim for f in listed] for listed in (self.history_features, self.neg_history_features))
        if widths != negative:
            raise ValueError(f"DIEN: neg_history_features must have the widths of history_features, {widths}; got {negative}.")
        if not 0 <= alpha < math.inf:
            raise ValueError(f"DIEN: alpha must be a finite number >= 0; got {alpha!r}. Use 0 for no auxiliary loss.")
        self.alpha = alpha
        self.columns: list[Feature] = [*self.target_features, *others]
        self.read_features: list[Feature] = [*others, *self.history_features, *self.target_features]
        self.training_features: list[Feature] = [*self.neg_history_features]
        self.features = [*others, *self.history_features, *self.neg_history_features, *self.target_features]
        self.all_dims = sum(feature.embed_dim for feature in self.read_features)
        self.embedding = EmbeddingLayer(self.features)
        self.interest_extractor_layers = nn.ModuleList(nn.GRU(width, width, batch_first=True) for width in widths)
        self.interest_evolving_layers = nn.ModuleList(AUGRU(width) for width in widths)
        network: dict[str, Any] = {"activation": "dice"} | arguments_of_mlp("DIEN", "mlp_params", mlp_params)
        self.mlp = MLP(self.all_dims, **network)

    def outputs(self, x: Features) -> tuple[Scores, tuple[Tensor, ...]]:
        """Log-odds of a positive label ``(B,)``, and in training the auxiliary loss of each row and history, ``(B,)`` each."""
        with_loss = self.training and self.alpha > 0
        embedded = self.embedding.look_up(x, self.features if with_loss else self.read_features)
        states, losses = [], []
        for i, (history, target) in enumerate(zip(self.history_features, self.target_features, strict=False)):
            order, mask = _entries_first(is_entry(x, history))
            entries = _take(embedded.stacked([history]).squeeze(1), order)  # (B, L, D)
            interests, _ = self.interest_extractor_layers[i](entries)  # (B, L, D)
            _, state = self.interest_evolving_layers[i](interests, embedded.stacked([target]).squeeze(1), mask)
            states.append(state)
            if with_loss:
                negative = self.neg_history_features[i]
                others = _take(embedded.stacked([negative]).squeeze(1), order)
                losses.append(_auxiliary(interests, entries, others, mask, is_entry(x, negative).gather(1, order)))
        return embedded.through(self.mlp, self.columns, leading=states).squeeze(1), tuple(losses)

    def auxiliary_loss(self, logits: Scores, parts: tuple[Tensor, ...], y: Tensor, weight: Tensor | None) -> Tensor:
        """``alpha`` times the mean over rows of the losses of all histories."""
        rows = sum(parts, torch.zeros_like(logits))
        mean = rows.mean() if weight is None else (rows * weight).sum() / weight.sum().clamp(min=torch.finfo(rows.dtype).tiny)
        return self.alpha * mean


def _entries_first(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The order ``(B, L)`` that puts the entries in front of the padding, and the mask in that order."""
    order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)
    return order, mask.gather(1, order)


def _take(sequence: Tensor, order: Tensor) -> Tensor:
    return sequence.gather(1, order.unsqueeze(2).expand_as(sequence))


def _auxiliary(interests: Tensor, entries: Tensor, others: Tensor, mask: Tensor, other_mask: Tensor) -> Tensor:
    """The mean over the entries behind the first of ``-log s(h_t . e_{t+1}) - log(1 - s(h_t . e'_{t+1}))`` (eq. 6-7), ``(B,)``."""
    before, counts = interests[:, :-1], mask[:, 1:]  # (B, L - 1, D), (B, L - 1)
    clicked = F.softplus(-(before * entries[:, 1:]).sum(2)).masked_fill(~counts, 0.0)
    skipped = F.softplus((before * others[:, 1:]).sum(2)).masked_fill(~(counts & other_mask[:, 1:]), 0.0)
    return (clicked + skipped).sum(1) / counts.sum(1).clamp(min=1)
