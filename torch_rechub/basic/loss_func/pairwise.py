"""Pairwise losses: the score of the positive item should be higher than the scores of the negative items."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments

__all__ = ["BPRLoss", "HingeLoss"]


@named_arguments
class HingeLoss(nn.Module):
    """Hinge on the hardest negative of each row: ``max(0, max_n(neg) - pos + margin)``, then the mean over rows.

    With ``num_items`` each row is weighted by ``log(rank + 1)``, where rank is estimated as num_items times the share of negatives
    within the margin: the WARP idea (Weston et al., *WSABIE*, IJCAI 2011), with the hardest negative instead of a sampled one.
    Differences from the existing package: ``num_items`` works (there, torch refuses the mean of booleans), and negatives ``(B,)`` are one
    per row (there, every row is compared with the highest negative of the batch).

    Args:
        margin: the difference that the score of the positive should have at least.
        num_items: number of items in the catalogue; None means no weights.

    Shape:
        ``pos_score`` ``(B,)`` or ``(B, 1)``, ``neg_score`` ``(B,)`` or ``(B, N)`` -> scalar.

    Raises:
        ValueError: the two have different numbers of rows.

    Example:
        >>> float(HingeLoss(margin=2)(torch.tensor([3.0]), torch.tensor([[0.0, 2.0]])))
        1.0
    """

    def __init__(self, margin: float = 2, num_items: int | None = None) -> None:
        super().__init__()
        self.margin = margin
        self.n_items = num_items

    def forward(self, pos_score: Tensor, neg_score: Tensor, in_batch_neg: bool = False) -> Tensor:
        """The mean loss; ``in_batch_neg`` tells where the negatives come from and has no effect here."""
        differences = _differences(pos_score, neg_score)  # (B, N)
        loss = torch.relu(self.margin - differences.amin(dim=-1))  # (B,)
        if self.n_items is not None:
            rank = (differences < self.margin).to(loss.dtype).mean(dim=-1) * self.n_items
            loss = loss * torch.log1p(rank)
        return loss.mean()


class BPRLoss(nn.Module):
    """The mean of ``-log sigmoid(pos - neg)`` over all pairs.

    Rendle et al., *BPR: Bayesian Personalized Ranking from Implicit Feedback*, UAI 2009, section 4.1, without the prior on the weights
    (that is :class:`RegularizationLoss`). Difference from the existing package: the loss and its gradient are finite where the
    sigmoid rounds to 0.

    Shape:
        ``pos_score`` ``(B,)`` or ``(B, 1)``, ``neg_score`` ``(B,)`` or ``(B, N)`` -> scalar.

    Raises:
        ValueError: the two have different numbers of rows.

    Example:
        >>> round(float(BPRLoss()(torch.tensor([0.0]), torch.tensor([200.0]))), 4)
        200.0
    """

    def forward(self, pos_score: Tensor, neg_score: Tensor, in_batch_neg: bool = False) -> Tensor:
        """The mean loss; ``in_batch_neg`` tells where the negatives come from and has no effect here."""
        return -F.logsigmoid(_differences(pos_score, neg_score)).mean()


def _differences(pos_score: Tensor, neg_score: Tensor) -> Tensor:
    """``pos - neg`` for every negative, ``(B, N)``."""
    pos = pos_score.reshape(-1, 1)
    neg = neg_score.unsqueeze(1) if neg_score.dim() == 1 else neg_score
    if neg.dim() != 2 or neg.shape[0] != pos.shape[0]:
        raise ValueError(
            f"neg_score must be (B,) or (B, N) with B={pos.shape[0]} rows as pos_score has; got shape {tuple(neg_score.shape)}. "
            "Pass the negatives of each positive as one row."
        )
    return pos - neg
