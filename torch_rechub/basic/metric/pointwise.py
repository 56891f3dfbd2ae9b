"""Metrics that look at one row at a time: log loss, normalized entropy, calibration, accuracy, RMSE, MAE."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torch_rechub.basic.metric.mean import MeanMetric, double

__all__ = ["MAE", "RMSE", "Accuracy", "Calibration", "LogLoss", "NormalizedEntropy"]


class LogLoss(MeanMetric):
    """Mean of ``-(y log p + (1 - y) log(1 - p))``: binary cross-entropy in nats.

    ``p`` is clipped to ``[eps, 1 - eps]`` with the machine epsilon of the precision in which it came (1.2e-7 for float32, 2.2e-16 for
    float64), as scikit-learn does, so that a certain error costs 15.9 or 36.0 and not infinity. The sums are float64. Labels may be soft.

    Raises:
        ValueError: at ``compute``, when a prediction or label lies outside [0, 1]: logits, say.

    Example:
        >>> metric = LogLoss()
        >>> metric.update(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))
        >>> round(metric.compute(), 6)
        0.693147
    """

    name = "logloss"
    higher_is_better = False

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """The loss of each row, and whether it lies outside [0, 1]."""
        return _cross_entropy(y_true, y_pred), _outside(y_true) + _outside(y_pred)

    def result(self, *means: float) -> float:
        """The mean loss."""
        loss, outside = means
        _check_probabilities(self.name, outside)
        return loss


class NormalizedEntropy(MeanMetric):
    """Log loss divided by the entropy of the background rate: 1 is as good as predicting the mean label for every row.

    ``NE = logloss / -(r log r + (1 - r) log(1 - r))`` with ``r`` the mean label (He et al., *Practical Lessons from Predicting Clicks on
    Ads at Facebook*, ADKDD 2014, equation 1). Deviations: labels are 0 and 1, not -1 and 1; ``r`` is that of the rows seen, weighted where
    they are; probabilities are clipped as in :class:`LogLoss`. One class alone gives NaN and a logged warning.

    Raises:
        ValueError: at ``compute``, when a prediction or label lies outside [0, 1].

    Example:
        >>> metric = NormalizedEntropy()
        >>> metric.update(torch.tensor([1, 0, 0, 0]), torch.full((4,), 0.25))
        >>> round(metric.compute(), 6)
        1.0
    """

    name = "normalized_entropy"
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
    """Sum of the predictions over sum of the labels (He et al., ADKDD 2014, section 2): 1 is right on the whole, more is too high.

    Neither more nor less is better, only nearer to 1, so it can be recorded but not monitored: ``monitor_mode`` refuses. No positive
    label gives NaN and a logged warning.

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


class Accuracy(MeanMetric):
    """Share of rows whose label is 1 exactly where ``y_pred > threshold``.

    Args:
        threshold: a prediction of exactly this counts as 0. A NaN prediction makes the metric NaN.

    Raises:
        ValueError: at ``compute``, when a label is neither 0 nor 1.

    Example:
        >>> metric = Accuracy(threshold=0.3)
        >>> metric.update(torch.tensor([1, 0, 0, 1]), torch.tensor([0.4, 0.2, 0.9, 0.3]))
        >>> metric.compute()
        0.5
    """

    name = "accuracy"
    higher_is_better = True

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold

    def terms(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, ...]:
        """Whether each row is right, and whether its label is neither 0 nor 1."""
        right = double(y_pred > self.threshold) == double(y_true > 0.5)
        return double(right).masked_fill(double(y_pred).isnan(), math.nan), (y_true != 0) & (y_true != 1)

    def result(self, *means: float) -> float:
        """The share of right rows."""
        right, strange = means
        if strange:
            raise ValueError(f"{self.name}: y_true must hold only 0 and 1; got other labels. Use MAE or RMSE for labels that are numbers.")
        return right


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
        return ((double(y_pred) - y_true) ** 2,)

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
        return ((double(y_pred) - y_true).abs(),)


def _cross_entropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    scores = y_pred if y_pred.is_floating_point() else double(y_pred)
    eps = torch.finfo(scores.dtype).eps
    p = double(scores.clamp(eps, 1 - eps))
    return -(y_true * p.log() + (1 - y_true) * (-p).log1p())


def _outside(values: Tensor) -> Tensor:
    wide = double(values)
    return double((wide < 0) | (wide > 1))


def _check_probabilities(name: str, outside: float) -> None:
    if outside:
        raise ValueError(f"{name}: predictions and labels must lie in [0, 1]; some do not. Are they logits? Apply torch.sigmoid first.")
