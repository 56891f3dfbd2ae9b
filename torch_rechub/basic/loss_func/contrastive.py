"""Contrastive losses: cross-entropy of a softmax over items, with a temperature."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments

__all__ = ["InBatchNCELoss", "NCELoss"]

Reduction: TypeAlias = Literal["mean", "sum", "none"]


@named_arguments
class NCELoss(nn.Module):
    """``-log softmax(logits / temperature)[target]``: InfoNCE, where each column of ``logits`` is an item.

    Named after Gutmann & Hyvärinen, *Noise-contrastive estimation*, AISTATS 2010; the formula is that of van den Oord et al.,
    *Representation Learning with Contrastive Predictive Coding*, 2018, eq. 4, as HLLM (Chen et al., 2024) uses it.
    Differences from the existing package: if every target is ignored the loss is 0 (there, no target is ignored then); ``ignore_index`` may
    be outside the columns, for example -100; "none" gives one value per row, 0 for ignored rows (there, they are dropped); an unknown
    reduction is an error.

    Args:
        temperature: above 0; a smaller value makes the softmax sharper.
        ignore_index: rows with this target are ignored. Use -100 to ignore none, because 0 is an ordinary target in many encodings.
        reduction: "mean" over the rows that are not ignored, "sum", or "none".

    Shape:
        ``logits`` ``(..., V)`` for V items and integer ``targets`` ``(...)`` -> scalar, or ``(...)`` for "none".

    Raises:
        ValueError: ``temperature`` is not above 0, or ``reduction`` is none of the three.

    Example:
        >>> round(float(NCELoss()(torch.zeros(2, 4), torch.tensor([1, 0]))), 4)  # log 4; the second row is ignored
        1.3863
    """

    def __init__(self, temperature: float = 1.0, ignore_index: int = 0, reduction: Reduction = "mean") -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"{type(self).__name__}: temperature must be > 0; got {temperature!r}. Use 1.0 for the plain softmax.")
        if reduction not in get_args(Reduction):
            raise ValueError(f"{type(self).__name__}: reduction must be one of {list(get_args(Reduction))}; got {reduction!r}.")
        self.temperature = temperature
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of ``logits`` against the column numbers ``targets``."""
        rows = logits.reshape(-1, logits.shape[-1]) / self.temperature  # (B, V)
        loss = F.cross_entropy(rows, targets.reshape(-1), ignore_index=self.ignore_index, reduction="none")  # (B,), 0 where ignored
        if self.reduction == "none":
            return loss.reshape(targets.shape)
        if self.reduction == "sum":
            return loss.sum()
        return loss.sum() / (targets != self.ignore_index).sum().clamp(min=1)


@named_arguments
class InBatchNCELoss(NCELoss):
    """:class:`NCELoss` of inner products: ``logits = embeddings @ item_embeddings.T``.

    Differences from the existing package are those of :class:`NCELoss`. The default ``ignore_index=0`` is that of the existing package. If
    ``item_embeddings`` are the items of the batch and the targets are ``arange(B)``, pass ``ignore_index=-100``; otherwise the first row is
    ignored.

    Args:
        temperature: above 0; 0.1 is common for embeddings of length 1.
        ignore_index: rows with this target are ignored.
        reduction: "mean" over the rows that are not ignored, "sum", or "none".

    Shape:
        ``embeddings`` ``(B, D)``, ``item_embeddings`` ``(V, D)``, ``targets`` ``(B,)`` -> scalar, or ``(B,)`` for "none".

    Example:
        >>> same = torch.eye(3)
        >>> round(float(InBatchNCELoss(temperature=1.0, ignore_index=-100)(same, same, torch.arange(3))), 4)
        0.5514
    """

    def __init__(self, temperature: float = 0.1, ignore_index: int = 0, reduction: Reduction = "mean") -> None:
        super().__init__(temperature, ignore_index, reduction)

    def forward(self, embeddings: Tensor, item_embeddings: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]
        """The loss of ``embeddings`` against rows ``targets`` of ``item_embeddings``."""
        return super().forward(torch.matmul(embeddings, item_embeddings.t()), targets)
