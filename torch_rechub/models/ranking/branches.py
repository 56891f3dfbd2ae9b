"""Two models side by side, each with tables and a loss of its own."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import EmbeddedFeature, Feature
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.basic.layers.plain import must_be_plain
from torch_rechub.basic.loss_func import logits_of, prediction_loss
from torch_rechub.models.base import AuxiliaryLossModel, RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["Branches"]

_BCE = nn.BCELoss()


@named_arguments
class Branches(AuxiliaryLossModel):
    """``logit = logit_a + logit_b`` of any two ranking models, trained by a loss of each beside that of the sum.

    ``loss = BCE(a + b) + branch_loss * (BCE(a) + BCE(b))``; the loss of a branch includes the further term of its own, where the model has
    one. Tables of their own let the branches embed an id in two ways: Guo et al., *On the Embedding Collapse when Scaling up Recommendation
    Models*, ICML 2024 (arXiv 2310.04400), have several sets of embeddings for the same reason; Li et al., *TF4CTR*, arXiv 2405.03167, give
    two networks a loss each.

    Args:
        model_a: a ranking model.
        model_b: another one, which may read other features. Both belong to this model from now on.
        separate_tables: False lets the second model read the embeddings of the first one's ``embedding``, and drops its own. First-order
            weights and other tables stay each model's own.
        branch_loss: the weight of the loss of each branch; 0 for none.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        TypeError: one of the two is no ranking model.
        ValueError: both are one model, ``branch_loss`` is negative, or the tables cannot be shared: a model has no ``embedding``, or the
            second one embeds a feature that the first one does not.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> from torch_rechub.models.ranking import GDCN, DeepFM
        >>> features = [SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)]
        >>> model = Branches(DeepFM(features, features, {"dims": [8]}), GDCN(features, {"dims": [8]}))
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(self, model_a: RankingModel, model_b: RankingModel, separate_tables: bool = True, branch_loss: float = 1.0) -> None:
        super().__init__()
        _check_models(model_a, model_b)
        if not 0 <= branch_loss < math.inf:
            raise ValueError(f"Branches: branch_loss must be a finite number >= 0; got {branch_loss!r}. Use 0 for no loss of the branches.")
        self.model_a = model_a
        self.model_b = model_b if separate_tables else _with_tables_of(model_a, model_b)
        self.branch_loss = branch_loss
        self.features: list[Feature] = list(dict.fromkeys([*_features(model_a), *_features(model_b)]))

    def outputs(self, x: Features) -> tuple[Scores, tuple[Tensor, ...]]:
        """The sum of the branches' logits, and the predictions of both, which carry their logits."""
        if must_be_plain():
            return self.model_a.logits(x) + self.model_b.logits(x), ()
        predictions = self.model_a(x), self.model_b(x)
        return _logits(predictions[0]) + _logits(predictions[1]), predictions

    def auxiliary_loss(self, logits: Scores, parts: tuple[Tensor, ...], y: Tensor, weight: Tensor | None) -> Tensor:
        """The loss of each branch, weighted."""
        return self.branch_loss * (prediction_loss(_BCE, parts[0], y, weight) + prediction_loss(_BCE, parts[1], y, weight))


def _logits(prediction: Tensor) -> Tensor:
    """The logits of a branch, also where a hook or a subclass replaced its prediction."""
    logits = logits_of(prediction)
    return torch.logit(prediction, eps=torch.finfo(prediction.dtype).eps) if logits is None else logits


def _check_models(model_a: Any, model_b: Any) -> None:
    for name, model in (("model_a", model_a), ("model_b", model_b)):
        if not isinstance(model, RankingModel):
            raise TypeError(f"Branches: {name} must be a ranking model, such as DeepFM(...); got {type(model).__name__}.")
    if model_a is model_b:
        raise ValueError("Branches: model_a and model_b must be two models; got one twice. Make another of the same class.")


def _features(model: nn.Module) -> list[Feature]:
    return list(getattr(model, "features", []))


def _with_tables_of(model_a: RankingModel, model_b: RankingModel) -> RankingModel:
    """A shallow copy of the second model that reads the first one's embeddings, which stay a part of the first one alone."""
    layers = [getattr(model, "embedding", None) for model in (model_a, model_b)]
    if not all(isinstance(layer, EmbeddingLayer) for layer in layers):
        raise ValueError("Branches: separate_tables=False needs two models with an EmbeddingLayer `embedding`. Use separate_tables=True.")
    embedded = [[f for f in _features(layer) if isinstance(f, EmbeddedFeature)] for layer in layers if layer is not None]
    missing = [feature.name for feature in embedded[1] if feature not in embedded[0]]
    if missing:
        raise ValueError(
            f"Branches: separate_tables=False needs every feature that model_b embeds in model_a, and equal; model_a has no such "
            f"{missing}. Add them to model_a, or use separate_tables=True."
        )
    branch = copy.copy(model_b)
    vars(branch)["_modules"] = {name: module for name, module in model_b._modules.items() if name != "embedding"}
    vars(branch)["embedding"] = layers[0]
    return branch
