"""FinalNet. Zhu et al., *FINAL: Factorized Interaction Layer for CTR Prediction*, SIGIR 2023."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import EmbeddingLayer, FactorizedBlock
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import AuxiliaryLossModel
from torch_rechub.models.distillation import distillation_loss
from torch_rechub.types import Features, Scores

__all__ = ["FinalNet"]


@named_arguments
class FinalNet(AuxiliaryLossModel):
    """One or two blocks of factorized interaction layers (:class:`~torch_rechub.basic.layers.FactorizedBlock`).

    ``logit = (logit_1 + logit_2) / 2``. In training each block also learns from the prediction p of both, which is a constant there:
    ``loss = BCE(p, y) + BCE(p_1, p) + BCE(p_2, p)`` (section 3.3). A gate may multiply each field by a linear function of all fields in
    each embedding dimension, and the first block reads the embeddings and the gated ones. Deviation: the blocks also read dense columns.

    Args:
        features: all columns.
        block1_params: arguments of the first block: ``dims``, ``dropout``, ``activation``, ``norm``, ``residual``.
        block2_params: of the second; None is a model of one block, without the further losses.
        use_feature_gating: whether the first block also reads gated embeddings, which must have one ``embed_dim``.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty, a sequence has pooling "concat", widths differ where they must not, or a width of a block is odd.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = FinalNet([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, {"dims": [8, 4]})
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    stops_gradient = True

    def __init__(
        self,
        features: Sequence[Feature],
        block1_params: Mapping[str, Any],
        block2_params: Mapping[str, Any] | None = None,
        use_feature_gating: bool = False,
    ) -> None:
        super().__init__()
        self.features = pooled_features("FinalNet", "features", features)
        self.embedding = EmbeddingLayer(self.features)
        width, n_gated = sum(feature.embed_dim for feature in self.features), 0
        self.gate = None
        if use_feature_gating:
            self.fields = fields_of("FinalNet", "features", self.features)
            n_gated = sum(feature.embed_dim for feature in self.fields)
            self.gate = _FieldGate(len(self.fields))
        self.block1 = _block("block1_params", width + n_gated, block1_params)
        self.block2 = None if block2_params is None else _block("block2_params", width, block2_params)

    def outputs(self, x: Features) -> tuple[Scores, tuple[Tensor, ...]]:
        """The mean of the blocks' logits, and both."""
        embedded = self.embedding.look_up(x, self.features)
        if self.gate is None:
            first = embedded.through(self.block1, self.features).squeeze(1)
        else:
            gated = self.gate(embedded.stacked(self.fields)).flatten(1)
            first = self.block1(torch.cat([embedded.flat(self.features), gated], dim=1)).squeeze(1)
        if self.block2 is None:
            return first, ()
        second = embedded.through(self.block2, self.features).squeeze(1)
        return 0.5 * (first + second), (first, second)

    def auxiliary_loss(self, logits: Scores, parts: tuple[Tensor, ...], y: Tensor, weight: Tensor | None) -> Tensor:
        """The cross-entropy of each block and the prediction of both."""
        return distillation_loss(logits, parts, weight)


class _FieldGate(nn.Module):
    """``v_i * (sum_j w_ij v_j + b_i)``, entry by entry; all gates are 1 at first, as in the authors' code.

    Shape:
        ``(B, F, D)`` -> ``(B, F, D)``.
    """

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_fields, num_fields)
        nn.init.zeros_(self.linear.weight)
        nn.init.ones_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The gated fields."""
        return x * self.linear(x.transpose(1, 2)).transpose(1, 2)


def _block(argument: str, width: int, given: Mapping[str, Any]) -> nn.Sequential:
    arguments = arguments_of_mlp("FinalNet", argument, given, FactorizedBlock)
    block = FactorizedBlock(width, **arguments)
    return nn.Sequential(block, nn.Linear(block.output_dim, 1))
