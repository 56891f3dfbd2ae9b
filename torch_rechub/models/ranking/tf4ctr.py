"""TF4CTR. Li et al., *TF4CTR: Twin Focus Framework for CTR Prediction via Adaptive Sample Differentiation*, arXiv 2405.03167, 2024."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer
from torch_rechub.models.arguments import hidden_layers, pooled_features
from torch_rechub.models.base import AuxiliaryLossModel
from torch_rechub.types import Features, Scores

__all__ = ["TF4CTR"]

SampleSelection: TypeAlias = Literal["shared", "separate", "gate", "experts"]
Fusion: TypeAlias = Literal["sum", "weighted", "vote", "concat", "experts"]


@named_arguments
class TF4CTR(AuxiliaryLossModel):
    """A simple and a complex network, each with a loss that weighs easy or hard rows more, and a fusion of both.

    In training ``loss = BCE(p, y) + alpha * TF_easy + (1 - alpha) * TF_hard``, where the twin focus losses are the means over rows of
    ``BCE(p_easy, y) (c + p_t)^gamma`` and ``BCE(p_hard, y) (2 - c - p_t)^gamma``, and ``p_t`` is the network's probability of the label.
    The inputs of the networks and the fusion of their outputs ``e`` and ``h`` are chosen by the following names (those of the paper's
    modules in brackets). Deviations: as in the authors' code, the fusions "sum", "weighted" and "vote" fuse the networks' logits; "vote"
    has Gumbel noise in training only, so that predictions can be repeated; and the networks also read dense columns.

    Args:
        features: all columns.
        easy_params: arguments of the simple :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        hard_params: of the complex one; its ``dropout`` and ``norm`` are also those of gates and experts.
        sample_selection: "separate" has tables for each network, those of the simple one half as wide (SER); "gate" multiplies the input of
            the simple network by a number in (0, 1) and the other by the rest (GM); "experts" mixes two networks for each (MoE); "shared"
            gives both the embeddings.
        fusion: "sum" of both logits; "weighted" sum with learned weights (WSF); "vote" by a softmax of temperature 0.8 (VF); "concat", a
            linear layer of e and h (CF); "experts", two linear layers weighted by a softmax of a third one (MoEF).
        c: how close the focus of both networks is, in [0, 1]; a large one weighs rows more alike.
        gamma: exponent of the weights, 0 (none) or more.
        alpha: share of the simple network's loss, in [0, 1].

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty, a sequence has pooling "concat", a network has no hidden layer, an ``embed_dim`` is 1 where the
            half is needed, or another argument is out of range.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = TF4CTR([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, {"dims": [8, 8]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        easy_params: Mapping[str, Any],
        hard_params: Mapping[str, Any],
        sample_selection: SampleSelection = "separate",
        fusion: Fusion = "concat",
        c: float = 0.8,
        gamma: float = 2.0,
        alpha: float = 0.2,
    ) -> None:
        super().__init__()
        choice("TF4CTR: sample_selection", sample_selection, get_args(SampleSelection))
        choice("TF4CTR: fusion", fusion, get_args(Fusion))
        if not (0 <= c <= 1 and 0 <= alpha <= 1 and gamma >= 0):
            raise ValueError(f"TF4CTR: c and alpha must be in [0, 1], and gamma >= 0; got c={c!r}, gamma={gamma!r}, alpha={alpha!r}.")
        self.features = pooled_features("TF4CTR", "features", features)
        self.c, self.gamma, self.alpha = c, gamma, alpha
        easy, hard = hidden_layers("TF4CTR", "easy_params", easy_params), hidden_layers("TF4CTR", "hard_params", hard_params)
        self.embedding = EmbeddingLayer(self.features)
        width = n_easy = sum(feature.embed_dim for feature in self.features)
        self.easy_features = [_halved(feature) for feature in self.features] if sample_selection == "separate" else []
        self.easy_embedding = EmbeddingLayer(self.easy_features) if self.easy_features else None
        self.selection = None
        if sample_selection == "separate":
            n_easy = sum(feature.embed_dim for feature in self.easy_features)
        elif sample_selection != "shared":
            options = {name: hard[name] for name in ("dropout", "norm") if name in hard}
            self.selection = (_Gate if sample_selection == "gate" else _Experts)(width, options)
        self.easy = MLP(n_easy, output_layer=False, **easy)
        self.hard = MLP(width, output_layer=False, **hard)
        self.fusion = _Fusion(easy["dims"][-1], hard["dims"][-1], fusion)

    def outputs(self, x: Features) -> tuple[Scores, tuple[Tensor, ...]]:
        """The fused logits, and those of both networks."""
        embedded = self.embedding.look_up(x, self.features)
        if self.easy_embedding is not None:
            easy = self.easy_embedding.look_up(x, self.easy_features).through(self.easy, self.easy_features)
            hard = embedded.through(self.hard, self.features)
        elif self.selection is None:
            easy, hard = (embedded.through(network, self.features) for network in (self.easy, self.hard))
        else:
            inputs = embedded.through(self.selection, self.features)
            easy, hard = self.easy(inputs[0]), self.hard(inputs[1])
        return self.fusion(easy, hard)

    def auxiliary_loss(self, logits: Scores, parts: tuple[Tensor, ...], y: Tensor, weight: Tensor | None) -> Tensor:
        """The twin focus losses."""
        easy, hard = (part.to(y.dtype) for part in parts)
        of_label = [y * torch.sigmoid(part) + (1 - y) * torch.sigmoid(-part) for part in (easy, hard)]
        factors = (self.c + of_label[0]) ** self.gamma, (2 - self.c - of_label[1]) ** self.gamma
        losses = [F.binary_cross_entropy_with_logits(part, y, reduction="none") for part in (easy, hard)]
        rows = self.alpha * losses[0] * factors[0] + (1 - self.alpha) * losses[1] * factors[1]
        return rows.mean() if weight is None else (rows * weight).sum() / weight.sum()


class _Gate(nn.Module):
    """``(g x, (1 - g) x)`` with ``g = sigmoid(MLP(x))``, one number a row."""

    def __init__(self, width: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.mlp = MLP(width, dims=[max(1, width // 4)], **options)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of the two networks."""
        gate = torch.sigmoid(self.mlp(x))  # (B, 1)
        return gate * x, (1 - gate) * x


class _Experts(nn.Module):
    """Two networks of x, mixed for each output by a softmax of another network."""

    def __init__(self, width: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        n_gate = max(1, width // 4)
        self.experts = nn.ModuleList([MLP(width, False, [max(1, width // 2), width], **options) for _ in range(2)])
        self.gates = nn.ModuleList([nn.Sequential(MLP(width, False, [n_gate], **options), nn.Linear(n_gate, 2)) for _ in range(2)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of the two networks."""
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)  # (B, 2, width)
        easy, hard = ((gate(x).softmax(dim=1).unsqueeze(2) * outputs).sum(dim=1) for gate in self.gates)
        return easy, hard


class _Fusion(nn.Module):
    """The logits of all and of both networks, from their outputs ``(B, n_easy)`` and ``(B, n_hard)``."""

    def __init__(self, n_easy: int, n_hard: int, kind: Fusion) -> None:
        super().__init__()
        self.kind = kind
        self.easy, self.hard = nn.Linear(n_easy, 1), nn.Linear(n_hard, 1)
        self.weight = nn.Parameter(torch.full((2,), 0.5)) if kind == "weighted" else None
        self.votes = nn.ModuleList([nn.Linear(n_easy, 1), nn.Linear(n_hard, 1)] if kind == "vote" else [])
        self.fc = nn.Linear(n_easy + n_hard, {"concat": 1, "experts": 2}[kind]) if kind in {"concat", "experts"} else None
        self.gate = nn.Linear(n_easy + n_hard, 2) if kind == "experts" else None

    def forward(self, easy: Tensor, hard: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The fused logits ``(B,)``, and both."""
        both = torch.cat([self.easy(easy), self.hard(hard)], dim=1)  # (B, 2)
        return self._fuse(both, easy, hard), (both[:, 0], both[:, 1])

    def _fuse(self, both: Tensor, easy: Tensor, hard: Tensor) -> Tensor:
        if self.weight is not None:
            return both @ self.weight
        if len(self.votes):
            votes = torch.cat([vote(part) for vote, part in zip(self.votes, (easy, hard), strict=True)], dim=1)
            shares = F.gumbel_softmax(votes, tau=0.8) if self.training else torch.softmax(votes / 0.8, dim=1)
            return (shares * both).sum(dim=1)
        if self.fc is None:
            return both.sum(dim=1)
        outputs = torch.cat([easy, hard], dim=1)
        logits = self.fc(outputs)
        return logits.squeeze(1) if self.gate is None else (self.gate(outputs).softmax(dim=1) * logits).sum(dim=1)


def _halved(feature: Feature) -> Feature:
    """The same feature with half the width; dense columns stay as they are."""
    if isinstance(feature, DenseFeature):
        return feature
    if feature.embed_dim < 2:
        raise ValueError(f"TF4CTR: sample_selection='separate' needs an embed_dim of 2 or more; got {feature.embed_dim} in {feature!r}.")
    return replace(feature, embed_dim=feature.embed_dim // 2)
