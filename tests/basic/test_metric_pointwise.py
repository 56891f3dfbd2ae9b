"""The metrics of single rows against scikit-learn and against their formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from torch_rechub.basic.metric import MAE, RMSE, Accuracy, Calibration, LogLoss, NormalizedEntropy

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1, width=32), st.floats(0.125, 8, width=32)), min_size=2, max_size=50
).filter(lambda rows: {y for y, _, _ in rows} == {0, 1})  # fmt: skip


def value(metric, y, p, w=None, dtype=torch.float64):
    metric.update(torch.tensor(y), torch.tensor(p, dtype=dtype), None if w is None else torch.tensor(w, dtype=torch.float64))
    return metric.compute()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(rows=ROWS, weighted=st.booleans())
def test_logloss_is_that_of_scikit_learn(dtype, rows, weighted):
    """Log loss is scikit-learn's in float64, of predictions clipped by the precision that they came in, also of exactly 0 and 1."""
    y, p, w = (list(column) for column in zip(*rows, strict=True))
    w = w if weighted else None
    numpy_p = np.array(p, np.float32 if dtype == torch.float32 else np.float64)
    eps = np.finfo(numpy_p.dtype).eps
    expected = sk.log_loss(y, numpy_p.clip(eps, 1 - eps).astype(np.float64), sample_weight=w)  # in float32 it would round 1 - p
    assert value(LogLoss(), y, p, w, dtype) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(rows=ROWS, weighted=st.booleans())
def test_errors_and_accuracy_are_those_of_scikit_learn(rows, weighted):
    """RMSE, MAE and accuracy are scikit-learn's, with and without weights."""
    y, p, w = (list(column) for column in zip(*rows, strict=True))
    w = w if weighted else None
    assert value(RMSE(), y, p, w) == pytest.approx(math.sqrt(sk.mean_squared_error(y, p, sample_weight=w)), rel=1e-12)
    assert value(MAE(), y, p, w) == pytest.approx(sk.mean_absolute_error(y, p, sample_weight=w), rel=1e-12)
    hard = [int(score > 0.3) for score in p]
    assert value(Accuracy(0.3), y, p, w) == pytest.approx(sk.accuracy_score(y, hard, sample_weight=w), rel=1e-12)


@given(rows=ROWS)
def test_normalized_entropy_and_calibration_follow_their_formulas(rows):
    """NE is log loss over the entropy of the mean label; calibration is the ratio of the sums."""
    y, p, w = (list(column) for column in zip(*rows, strict=True))
    rate = sum(a * b for a, b in zip(y, w, strict=True)) / sum(w)
    entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
    assert value(NormalizedEntropy(), y, p, w) == pytest.approx(value(LogLoss(), y, p, w) / entropy, rel=1e-9)
    predicted = sum(a * b for a, b in zip(p, w, strict=True)) / sum(w)
    assert value(Calibration(), y, p, w) == pytest.approx(predicted / rate, rel=1e-9)


@pytest.mark.parametrize(
    ("dtype", "eps"), [(torch.float32, 2**-23), (torch.float64, 2**-52), (torch.float16, 2**-23), (torch.bfloat16, 2**-23)]
)
def test_logloss_of_a_certain_error_is_finite(dtype, eps):
    """A wrong prediction of 0 or 1 costs -log(eps) of the scores' precision; half precision is first converted to float32."""
    assert value(LogLoss(), [1, 0], [0.0, 1.0], dtype=dtype) == pytest.approx(-math.log(eps), rel=1e-12)


@pytest.mark.parametrize("kind", [LogLoss, NormalizedEntropy])
@pytest.mark.parametrize(("y", "p"), [([1, 0], [1.5, 0.2]), ([1, 0], [0.5, -0.1]), ([1, -1], [0.5, 0.5])])
def test_logloss_refuses_values_outside_the_unit_interval(kind, y, p):
    """Predictions and labels outside [0, 1] are an error; clipping would hide it."""
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        value(kind(), y, p)


def test_logloss_takes_soft_labels():
    """A label of 0.5 counts half as positive and half as negative."""
    assert value(LogLoss(), [0.5], [0.25]) == pytest.approx(-(math.log(0.25) + math.log(0.75)) / 2)


def test_accuracy_refuses_labels_that_are_not_binary():
    """A label that is neither 0 nor 1 is an error."""
    with pytest.raises(ValueError, match="only 0 and 1"):
        value(Accuracy(), [1.0, 0.5], [0.9, 0.5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_accuracy_counts_the_threshold_itself_as_zero(dtype):
    """A prediction equal to the threshold, in the precision of the scores, counts as 0."""
    assert value(Accuracy(0.3), [0, 0, 0, 1], [0.3] * 4, dtype=dtype) == 0.75


@pytest.mark.parametrize(("metric", "y"), [(NormalizedEntropy(), [1, 1]), (NormalizedEntropy(), [0, 0]), (Calibration(), [0, 0])], ids=repr)
def test_ratios_with_a_denominator_of_zero_are_nan_and_logged(metric, y, caplog):
    """A ratio whose denominator is 0 is NaN and a logged warning, not an exception."""
    assert math.isnan(value(metric, y, [0.5, 0.5]))
    assert metric.name in caplog.text


def test_means_of_zero_weight_are_nan_and_logged(caplog):
    """If all row weights are 0, the mean is NaN, with a logged warning."""
    assert math.isnan(value(MAE(), [1, 0], [0.5, 0.5], [0.0, 0.0]))
    assert "weights sum to 0" in caplog.text


def test_means_do_not_lose_small_rows_among_many():
    """The sums are exact: small errors are not lost beside large ones."""
    metric = MAE()
    for _ in range(10):
        metric.update(torch.zeros(1), torch.tensor([1e15], dtype=torch.float64))
        metric.update(torch.zeros(1000), torch.full((1000,), 0.125))
    assert metric.compute() * 10010 == 10 * 1e15 + 1250


def test_errors_of_infinite_predictions_are_infinite():
    """An infinite prediction gives an infinite error and no exception."""
    assert value(RMSE(), [1, 0], [math.inf, -math.inf]) == value(MAE(), [1, 0], [math.inf, 0.0]) == math.inf
