"""A mask of the ids of a batch that are not padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torch_rechub.basic.features import EmbeddedFeature
from torch_rechub.types import Features

__all__ = ["InputMask", "masked_softmax"]


class InputMask(nn.Module):
    """0.0 where an id is the ``padding_idx`` of its feature (-1 if the feature has none), and 1.0 elsewhere.

    Shape:
        ``x`` with columns ``(B,)`` -> ``(B, F)``; with columns ``(B, L)`` -> ``(B, F, L)``. All features must have the same shape.

    Raises:
        ValueError: there is no feature, or one of them is dense.

    Example:
        >>> from torch_rechub.basic.features import SequenceFeature
        >>> clicks = SequenceFeature("clicks", vocab_size=9, embed_dim=4, padding_idx=0)
        >>> InputMask()({"clicks": torch.tensor([[5, 7, 0]])}, clicks)
        tensor([[[1., 1., 0.]]])
    """

    def forward(self, x: Features, features: EmbeddedFeature | Sequence[EmbeddedFeature]) -> Tensor:
        """The mask of one feature, or of several in order."""
        requested = features if isinstance(features, Sequence) else [features]
        if not requested:
            raise ValueError("InputMask: features must not be empty; give at least one SparseFeature or SequenceFeature.")
        return torch.stack([_is_not_padding(x, feature) for feature in requested], dim=1).float()


def _is_not_padding(x: Features, feature: EmbeddedFeature) -> Tensor:
    if not isinstance(feature, EmbeddedFeature):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"InputMask: features must be SparseFeature or SequenceFeature; got {feature!r}. A dense column has no padding.")
    return x[feature.name].long() != (-1 if feature.padding_idx is None else feature.padding_idx)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """The softmax over the last axis of the entries where ``mask`` is True; 0 elsewhere, and everywhere in a row without one.

    Example:
        >>> masked_softmax(torch.zeros(2, 3), torch.tensor([[True, True, False], [False, False, False]]))
        tensor([[0.5000, 0.5000, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    weights = torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=-1)
    return weights.masked_fill(~mask, 0.0)
