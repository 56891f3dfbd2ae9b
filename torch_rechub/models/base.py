"""The common part of all models of one probability a row: a paper contributes ``logits``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torch_rechub.basic.batch import check_labels, split_batch
from torch_rechub.basic.layers.plain import must_be_plain
from torch_rechub.basic.loss_func import carry_logits, logits_of, prediction_loss
from torch_rechub.types import Batch, Features, Scores

__all__ = ["AuxiliaryLossModel", "RankingModel"]

_BCE = nn.BCELoss()


class RankingModel(nn.Module):
    """A model of the probability of a positive label.

    ``model(x)`` with features gives probabilities ``(B,)``, which carry their logits (``prediction.logits``). ``model(batch)`` with a
    loader's ``(x, y)`` or ``(x, y, weight)`` gives the training loss, so that a hand-written loop reads ``loss = model(batch)``.

    Training goes through ``forward``. The loss is computed from the logits where ``forward``'s prediction arrives unchanged, and from the
    prediction where a subclass or a forward hook replaced it.
    """

    predicts_probabilities: ClassVar[bool] = True  #: a criterion of logits gets the logits of predictions that carry none

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        raise NotImplementedError

    def forward(self, x: Features) -> Scores:
        """Probabilities ``(B,)`` that carry their logits."""
        logits = self.logits(x)
        prediction = torch.sigmoid(logits)
        return prediction if must_be_plain() else carry_logits(prediction, logits)

    def __call__(self, batch: Features | Batch, *args: Any, **kwargs: Any) -> Tensor:
        """Probabilities for features, the loss for a batch with labels."""
        if isinstance(batch, Mapping | Tensor):
            return super().__call__(batch, *args, **kwargs)
        x, y, weight = split_batch(batch)
        return super().__call__(x) if y is None else self.loss(x, y, weight)

    def loss(self, x: Features, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean binary cross-entropy of ``y`` ``(B,)`` in [0, 1]; sum(w * loss) / sum(w) where rows are weighted."""
        if y.dim() != 1:
            raise ValueError(f"Labels must be one column, (B,) or (B, 1); got {tuple(y.shape)}. Give one label a row.")
        check_labels(y, weight)
        return prediction_loss(_BCE, self(x), y, weight)


class AuxiliaryLossModel(RankingModel):
    """A ranking model whose training loss has a further term, which reads the labels and more than the logits.

    A paper contributes ``outputs`` and ``auxiliary_loss`` in place of ``logits``. In training the prediction carries the term, so that
    every loss of it adds the term: that of ``model(batch)`` and that of a trainer with any criterion. In evaluation there is none.
    """

    has_auxiliary_loss: ClassVar[bool] = True  #: a trainer with ``loss_mode=False`` takes the model too
    stops_gradient: ClassVar[bool] = False  #: whether a part of the term is a constant for its gradient, such as a teacher's prediction

    def outputs(self, x: Features) -> tuple[Scores, tuple[Tensor, ...]]:
        """The log-odds ``(B,)``, and what :meth:`auxiliary_loss` reads besides."""
        raise NotImplementedError

    def auxiliary_loss(self, logits: Scores, parts: tuple[Tensor, ...], y: Tensor, weight: Tensor | None) -> Tensor:
        """The further term, a mean over the rows, weighted where rows are; it is added to the criterion's.

        Args:
            logits: the first output.
            parts: the second output.
            y: labels ``(B,)``.
            weight: weights of the rows ``(B,)``.
        """
        raise NotImplementedError

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        return self.outputs(x)[0]

    def forward(self, x: Features) -> Scores:
        """Probabilities ``(B,)`` that carry their logits and, in training, the further term of the loss."""
        if must_be_plain() or not self.training:
            return super().forward(x)
        logits, parts = self.outputs(x)
        return carry_logits(torch.sigmoid(logits), logits, partial(self.auxiliary_loss, logits, parts))

    def __call__(self, batch: Features | Batch, *args: Any, **kwargs: Any) -> Tensor:
        """As :class:`RankingModel`.

        Raises:
            ValueError: in training, a forward hook or a subclass replaced the prediction, and the term with it.
        """
        output = super().__call__(batch, *args, **kwargs)
        if self.training and isinstance(batch, Mapping) and not must_be_plain() and logits_of(output) is None:
            raise ValueError(
                f"{type(self).__name__}: a part of its training loss is computed from what its prediction carries, and a forward hook or a "
                "subclass replaced the prediction. Override outputs(x) instead of forward(x), and remove the hook for training."
            )
        return output
