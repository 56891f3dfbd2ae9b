"""The loss of a prediction: computed from logits where the prediction carries them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["carry_logits", "logits_of", "prediction_loss", "takes_logits"]


#: A further loss of a model: ``(y, weight)`` -> the mean over the rows, weighted where rows are.
AuxiliaryLoss: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]


def carry_logits(prediction: Tensor, logits: Tensor, auxiliary_loss: AuxiliaryLoss | None = None) -> Tensor:
    """``prediction`` with the attribute ``logits``, from which a loss is computed without the rounding of a probability.

    The attribute belongs to this tensor object: the result of any operation on it, as in an overridden ``forward`` or a forward hook, has
    none, and an in-place change invalidates it (:func:`logits_of`). The same holds for ``auxiliary_loss``, a further term of the loss that
    :func:`prediction_loss` adds.
    """
    prediction.logits = logits  # type: ignore[attr-defined]
    prediction.auxiliary_loss = auxiliary_loss  # type: ignore[attr-defined]
    prediction.logits_version = _version(prediction)  # type: ignore[attr-defined]
    return prediction


def logits_of(prediction: Tensor) -> Tensor | None:
    """The logits that ``prediction`` carries; None where it carries none or was changed in place since.

    Example:
        >>> logits = torch.tensor([0.0, 2.0])
        >>> prediction = carry_logits(torch.sigmoid(logits), logits)
        >>> logits_of(prediction) is logits, logits_of(prediction * 0.5)
        (True, None)
    """
    logits = getattr(prediction, "logits", None)
    return logits if logits is not None and prediction.logits_version == _version(prediction) else None  # type: ignore[attr-defined]


def takes_logits(criterion: Any) -> bool:
    """Whether a criterion is the binary cross-entropy of logits: torch's module, a subclass of it, or torch's function."""
    return isinstance(criterion, nn.BCEWithLogitsLoss) or criterion is F.binary_cross_entropy_with_logits


def prediction_loss(
    criterion: Any, prediction: Tensor, y: Tensor, weight: Tensor | None = None, total: float | Tensor | None = None
) -> Tensor:
    """``sum over rows of weight * criterion(prediction, y) / total``: the mean, or one batch's part of a mean over several batches.

    Where the prediction carries a further loss of its model (:func:`carry_logits`), it is added as its part of the same mean.

    ``nn.BCELoss`` without class weights and ``nn.BCEWithLogitsLoss`` are computed from the prediction's logits where it carries them
    (:func:`logits_of`); where it does not, ``BCELoss`` takes it as a probability and ``BCEWithLogitsLoss`` as a logit. Every other
    criterion gets the prediction itself. Half-precision predictions are widened to float32.

    Args:
        criterion: a loss module of torch, or any function of ``(prediction, y)``. A function without the attribute ``reduction`` must
            return the mean over rows. A criterion with ``reduction="sum"`` is summed, and not divided.
        prediction: ``(B,)`` or ``(B, 1)``.
        y: labels, ``(B,)`` or ``(B, 1)``.
        weight: weights of the rows, ``(B,)``.
        total: number of rows, or sum of weights, of the whole optimizer step; None is this batch's own.

    Raises:
        ValueError: when the shapes differ, or rows are weighted and the criterion has no attribute ``reduction``.

    Example:
        >>> prediction_loss(nn.MSELoss(), torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]), torch.tensor([3.0, 1.0]))
        tensor(1.7500)
    """
    loss = _criterion_loss(criterion, prediction, y, weight, total)
    auxiliary_loss = None if logits_of(prediction) is None else getattr(prediction, "auxiliary_loss", None)
    if auxiliary_loss is None:
        return loss
    size = len(y) if weight is None else weight.sum()
    is_sum = getattr(criterion, "reduction", "mean") == "sum"
    return loss + auxiliary_loss(y, weight) * size / (1 if is_sum else _divisor(size if total is None else total, loss))


def _criterion_loss(criterion: Any, prediction: Tensor, y: Tensor, weight: Tensor | None, total: float | Tensor | None) -> Tensor:
    criterion, prediction = _from_logits(criterion, prediction)
    prediction = _like_labels(_widen(prediction), y)
    y = y.to(prediction.dtype)
    if getattr(criterion, "reduction", "mean") == "none":
        criterion = _with_reduction(criterion, "mean")
    if weight is not None:
        weighted_sum = _call(partial(_weighted_sum, criterion), prediction, y, weight)
        if getattr(criterion, "reduction", "mean") == "sum":
            return weighted_sum
        return weighted_sum / _divisor(weight.sum() if total is None else total, weighted_sum)
    loss = _call(criterion, prediction, y)
    if loss.dim():
        raise ValueError(
            f"The criterion {criterion!r} returns shape {tuple(loss.shape)}; it must return one number, the mean over rows. "
            "Take its mean, or give a module with reduction='mean'."
        )
    if total is None or getattr(criterion, "reduction", "mean") == "sum" or (not isinstance(total, Tensor) and total == len(y)):
        return loss
    return loss * len(y) / _divisor(total, loss)


def _call(criterion: Callable[..., Tensor], prediction: Tensor, y: Tensor, *weight: Tensor) -> Tensor:
    """The criterion's value; torch's error of predictions that are no probabilities says what to do."""
    if torch.compiler.is_compiling():
        return criterion(prediction, y, *weight)
    try:
        return criterion(prediction, y, *weight)
    except RuntimeError as error:
        if "between 0 and 1" not in str(error):
            raise
        wrong = prediction[~((prediction >= 0) & (prediction <= 1))].flatten()
        came = f"got {wrong[0].item():g}" if len(wrong) else f"predictions do; labels do not: {y.min().item():g} to {y.max().item():g}"
        raise ValueError(
            f"BCELoss needs predictions in [0, 1]; {came}. Where the model returns logits, apply torch.sigmoid in it, or use "
            "nn.BCEWithLogitsLoss(): trainer.criterion = nn.BCEWithLogitsLoss()."
        ) from error


def _weighted_sum(criterion: Any, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    if type(criterion) is nn.BCEWithLogitsLoss and criterion.weight is None:  # one operation
        return F.binary_cross_entropy_with_logits(prediction, y, weight, reduction="sum", pos_weight=criterion.pos_weight)
    return (_with_reduction(criterion, "none")(prediction, y) * weight).sum()


def _from_logits(criterion: Any, prediction: Tensor) -> tuple[Any, Tensor]:
    """The criterion and what it reads: the logits, where they are there and the criterion is a binary cross-entropy."""
    logits = logits_of(prediction)
    if logits is None:
        return criterion, prediction
    if type(criterion) is nn.BCELoss and criterion.weight is None:
        return nn.BCEWithLogitsLoss(reduction=criterion.reduction), logits
    return criterion, logits if takes_logits(criterion) else prediction


def _divisor(total: float | Tensor, like: Tensor) -> float | Tensor:
    """The total as a divisor: where it is 0 the quotient is 0."""
    if not isinstance(total, Tensor):
        return total or 1
    total = total.to(like.device, like.dtype)
    return total.clamp(min=torch.finfo(total.dtype).tiny)


def _widen(prediction: Tensor) -> Tensor:
    return prediction.float() if prediction.is_floating_point() and prediction.element_size() < 4 else prediction


def _like_labels(prediction: Tensor, y: Tensor) -> Tensor:
    """Predictions ``(B, 1)`` for labels ``(B,)``: users of the existing package write both."""
    if prediction.shape == y.shape:
        return prediction
    columns = (prediction.shape, y.shape)
    if prediction.numel() == y.numel() and all(shape.numel() == shape[:1].numel() for shape in columns):
        return prediction.reshape(y.shape)
    if y.dim() == 2 and prediction.dim() == 1:
        raise ValueError(f"Labels must be one column, (B,) or (B, 1); got {tuple(y.shape)}. Give one label a row.")
    raise ValueError(f"The model returns shape {tuple(prediction.shape)} for labels of shape {tuple(y.shape)}; they must be equal.")


def _with_reduction(criterion: Any, reduction: str) -> Any:
    """The same criterion with another reduction."""
    if not hasattr(criterion, "reduction"):
        raise ValueError(
            f"Weighted rows need a criterion that gives one value a row: {criterion!r} has no attribute 'reduction'. "
            "Use one of torch's losses, or leave the weights out."
        )
    other = copy.copy(criterion)
    other.reduction = reduction
    return other


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place; tensors of inference mode and of a compiled graph do not count."""
    return 0 if torch.compiler.is_compiling() or tensor.is_inference() else tensor._version
