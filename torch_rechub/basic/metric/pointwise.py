"""Metrics that are means over single rows: log loss, normalized entropy, calibration, accuracy, RMSE, MAE."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_rechub.arguments import choice, named_arguments
from torch_rechub.basic.metric.mean import MeanMetric, to_float64

__all__ = ["MAE", "RMSE", "Accuracy", "Calibration", "LogLoss", "NormalizedEntropy"]


@named_arguments
class LogLoss(MeanMetric):
    """Mean of ``-(y log p + (1 - y) log(1 - p))``: binary cross-entropy in nats.

    ``p`` is clipped to ``[eps, 1 - eps]``, where ``eps`` is the machine epsilon of the predictions' precision (1.2e-7 for float32, 2.2e-16
    for float64), as in scikit-learn. So a prediction of 0 or 1 that is wrong costs 15.9 or 36.0 and not infinity. The sums are float64.
    Labels may be any numbers in [0, 1].

    Args:
        predictions: what the predictions are: "probability"; "logit", of which the sigmoid is the probability (nothing is clipped then);
            "any" for a probability where all of them lie in [0, 1], and otherwise the value is NaN with a logged warning. By default a
            trainer takes "logit" for a module of the user's under a criterion of logits, and "any" under a criterion that is no binary
            cross-entropy.

    Raises:
        ValueError: when ``predictions`` is something else; at ``compute``, when a label, or a prediction that must be a probability, lies
            outside [0, 1].

    Example:
        >>> metric = LogLoss()
        >>> metric.update(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))
        >>> round(metric.compute(), 6)
        0.693147
    """

    name = "logloss"
    labels = "unit"
    higher_is_better = False

    def __init__(self, predictions: Literal["probability", "logit", "any"] = "probability") -> None:
        super().__init__()
        choice("LogLoss: predictions", predictions, ["probability", "logit", "any"])
        self.predictions = predictions

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """The loss of each row, and whether its label and its prediction lie outside [0, 1]."""
        if self.predictions == "logit":
            logits = to_float64(y_pred)
            return F.softplus(logits) - y_true * logits, _outside(y_true), torch.zeros_like(y_true)
        return _cross_entropy(y_true, y_pred), _outside(y_true), _outside(y_pred)

    def result(self, *means: float) -> float:
        """The mean loss."""
        loss, label_outside, outside = means
        if outside and self.predictions == "any" and not label_outside:
            return self.undefined("it is measured of probabilities, and predictions lie outside [0, 1]. metrics=[...] leaves it out")
        _check_probabilities(self.name, label_outside + outside)
        return loss


class NormalizedEntropy(MeanMetric):
    """Log loss divided by the entropy of the mean label. The value 1 is that of predicting the mean label for every row.

    ``NE = logloss / -(r log r + (1 - r) log(1 - r))`` with ``r`` the mean label (He et al., *Practical Lessons from Predicting Clicks on
    Ads at Facebook*, ADKDD 2014, equation 1). Deviations: labels are 0 and 1, not -1 and 1; ``r`` is computed from the same rows and
    weights; probabilities are clipped as in :class:`LogLoss`. Labels of a single class give NaN and a logged warning.

    Raises:
        ValueError: at ``compute``, when a prediction or label lies outside [0, 1].

    Example:
        >>> metric = NormalizedEntropy()
        >>> metric.update(torch.tensor([1, 0, 0, 0]), torch.full((4,), 0.25))
        >>> round(metric.compute(), 6)
        1.0
    """

    name = "normalized_entropy"
    labels = "unit"
    higher_is_better = False

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """The loss and the label of each row, and whether it lies outside [0, 1]."""
        return _cross_entropy(y_true, y_pred), y_true, _outside(y_true) + _outside(y_pred)

    def result(self, *means: float) -> float:
        """Mean loss over the entropy of the mean label."""
        loss, rate, outside = means
        _check_probabilities(self.name, outside)
        if not 0 < rate < 1:
            return self.undefined("the labels are of one class, whose entropy is 0")
        return loss / -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


class Calibration(MeanMetric):
    """Sum of the predictions over sum of the labels (He et al., ADKDD 2014, section 2). A value above 1 means too high predictions.

    The best value is 1, so neither direction is better: ``higher_is_better`` is None, and the metric can be recorded but not monitored.
    If no label is positive, the value is NaN with a logged warning.

    Example:
        >>> metric = Calibration()
        >>> metric.update(torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
        >>> metric.compute()
        1.25
    """

    name = "calibration"
    higher_is_better = None

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """The prediction and the label of each row."""
        return y_pred, y_true

    def result(self, *means: float) -> float:
        """Mean prediction over mean label."""
        predicted, observed = means
        return predicted / observed if observed else self.undefined("there is no positive label to divide by")


@named_arguments
class Accuracy(MeanMetric):
    """Share of rows whose predicted class is the label; the predicted class is 1 if ``y_pred > threshold``, else 0.

    Args:
        threshold: a prediction equal to it counts as 0. A NaN prediction makes the value NaN.

    Raises:
        ValueError: at ``compute``, when a label is neither 0 nor 1.

    Example:
        >>> metric = Accuracy(threshold=0.3)
        >>> metric.update(torch.tensor([1, 0, 0, 1]), torch.tensor([0.4, 0.2, 0.9, 0.3]))
        >>> metric.compute()
        0.5
    """

    name = "accuracy"
    labels = "binary"
    higher_is_better = True

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """Whether each row is predicted correctly, and whether its label is neither 0 nor 1."""
        correct = to_float64(y_pred > self.threshold) == to_float64(y_true > 0.5)
        return to_float64(correct).masked_fill(to_float64(y_pred).isnan(), math.nan), (y_true != 0) & (y_true != 1)

    def result(self, *means: float) -> float:
        """The share of correct rows."""
        correct, invalid = means
        if invalid:
            raise ValueError(f"{self.name}: y_true must hold only 0 and 1; got other labels. Use MAE or RMSE for numeric labels.")
        return correct


class RMSE(MeanMetric):
    """Root of the mean squared error.

    Example:
        >>> metric = RMSE()
        >>> metric.update(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
        >>> round(metric.compute() ** 2, 6)
        12.5
    """

    name = "rmse"
    higher_is_better = False

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """The squared error of each row."""
        return ((to_float64(y_pred) - y_true) ** 2,)

    def result(self, *means: float) -> float:
        """The root of the mean."""
        return math.sqrt(means[0])


class MAE(MeanMetric):
    """Mean absolute error.

    Example:
        >>> metric = MAE()
        >>> metric.update(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
        >>> metric.compute()
        3.5
    """

    name = "mae"
    higher_is_better = False

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """The absolute error of each row."""
        return ((to_float64(y_pred) - y_true).abs(),)


def _cross_entropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    scores = y_pred if y_pred.is_floating_point() else to_float64(y_pred)
    eps = torch.finfo(scores.dtype).eps
    p = to_float64(scores.clamp(eps, 1 - eps))
    return -(y_true * p.log() + (1 - y_true) * (-p).log1p())


def _outside(values: Tensor) -> Tensor:
    values = to_float64(values)
    return to_float64((values < 0) | (values > 1))


def _check_probabilities(name: str, outside: float) -> None:
    if outside:
        raise ValueError(
            f"{name}: predictions and labels must lie in [0, 1]; got others. If the predictions are logits, apply torch.sigmoid first."
        )
