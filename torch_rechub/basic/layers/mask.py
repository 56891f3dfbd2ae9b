"""Which ids of a batch are real and which only fill up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torch_rechub.basic.features import EmbeddedFeature
from torch_rechub.types import Features

__all__ = ["InputMask"]


class InputMask(nn.Module):
    """1.0 where an id is real, 0.0 where it is the feature's ``padding_idx`` (-1 where the feature names none).

    Shape:
        ``x`` with columns ``(B,)`` -> ``(B, F)``; with columns ``(B, L)`` -> ``(B, F, L)``. The features must be alike.

    Raises:
        ValueError: when there is no feature, or one that is not looked up in a table.

    Example:
        >>> from torch_rechub.basic.features import SequenceFeature
        >>> clicks = SequenceFeature("clicks", vocab_size=9, embed_dim=4, padding_idx=0)
        >>> InputMask()({"clicks": torch.tensor([[5, 7, 0]])}, clicks)
        tensor([[[1., 1., 0.]]])
    """

    def forward(self, x: Features, features: EmbeddedFeature | Sequence[EmbeddedFeature]) -> Tensor:
        """The mask of one feature, or of several in order."""
        several = features if isinstance(features, Sequence) else [features]
        if not several:
            raise ValueError("InputMask: features must not be empty; give at least one SparseFeature or SequenceFeature.")
        return torch.stack([_is_real(x, feature) for feature in several], dim=1).float()


def _is_real(x: Features, feature: EmbeddedFeature) -> Tensor:
    if not isinstance(feature, EmbeddedFeature):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"InputMask: features must be SparseFeature or SequenceFeature; got {feature!r}. Only ids can be padding.")
    return x[feature.name].long() != (-1 if feature.padding_idx is None else feature.padding_idx)
