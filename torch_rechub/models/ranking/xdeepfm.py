"""xDeepFM. Lian et al., *xDeepFM: Combining Explicit and Implicit Feature Interactions for Recommender Systems*, KDD 2018."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import CIN, MLP, EmbeddingLayer, FeatureLinear
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["xDeepFM"]


@named_arguments
class xDeepFM(RankingModel):
    """``logit = linear + CIN + network`` (eq. 9); without a network it is the paper's CIN.

    The compressed interaction network (eq. 6 and 8) has no activation, which the paper found to be best, and all of its maps go to the
    output and to the next layer. Deviations: its layers have a bias, as in published implementations, and the network also reads dense
    columns.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``; None: no network.
        cin_size: number of feature maps of each layer of the CIN.
        split_half: half of the maps of each layer go to the output and the other half to the next layer, as in the authors' code.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two embedded features, their widths differ, a sequence has pooling "concat", ``cin_size`` is empty,
            or a size that must be halved is odd.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = xDeepFM([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, cin_size=[6, 4])
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any] | None,
        cin_size: Sequence[int] = (64, 64, 64),
        split_half: bool = False,
    ) -> None:
        super().__init__()
        self.features = pooled_features("xDeepFM", "features", features)
        self.fields = fields_of("xDeepFM", "features", self.features, at_least=2)
        self.linear = FeatureLinear(self.features)
        self.embedding = EmbeddingLayer(self.features)
        self.cin = CIN(len(self.fields), cin_size, split_half, activation=None)
        self.mlp = None
        if mlp_params is not None:
            n_column = sum(feature.embed_dim for feature in self.features)
            self.mlp = MLP(n_column, **arguments_of_mlp("xDeepFM", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        logits = self.linear(x) + self.cin(embedded.stacked(self.fields))
        return (logits if self.mlp is None else logits + embedded.through(self.mlp, self.features)).squeeze(1)
