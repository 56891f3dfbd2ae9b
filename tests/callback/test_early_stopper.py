"""The early stopper gives the decisions of a page of plain Python."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.basic.callback.snapshot import copy_weights

FEW = st.sampled_from([0.0, 0.5, 0.51, 0.6, -0.5, -1.0, 1e-300, math.nan, math.inf, -math.inf])
VALUES = st.lists(st.one_of(FEW, st.floats(-2, 2), st.floats()), max_size=30)
SETTINGS = st.fixed_dictionaries(
    {
        "patience": st.integers(1, 5),
        "mode": st.sampled_from(["max", "min"]),
        "min_delta": st.sampled_from([0.0, 0.01, 0.3]),
        "start_from": st.integers(0, 4),
        "baseline": st.sampled_from([None, 0.5, -0.2]),
    }
)


def oracle(values, patience, mode="max", min_delta=0.0, start_from=0, baseline=None):
    """The expected result of each validation: (is best, counted, trial counter, stop, index of the best so far)."""
    sign = 1 if mode == "max" else -1
    best_at, reference, counter, out = None, baseline, 0, []
    for i, value in enumerate(values):
        finite = not (math.isnan(value) or math.isinf(value))
        is_best = finite and (best_at is None or sign * value > sign * values[best_at])
        best_at = i if is_best else best_at
        counted = finite and i >= start_from and (reference is None or sign * value - sign * reference > min_delta)
        if counted:
            reference, counter = value, 0
        elif i >= start_from:
            counter += 1
        out.append((is_best, counted, counter, counter >= patience, best_at))
    return out


def run(stopper, values, start=0):
    """Feed values with weights that name their validation, and compare every decision with the oracle's."""
    out = []
    for i, value in enumerate(values, start):
        stop = stopper.stop_training(value, {"w": torch.tensor([float(i)])})
        best_at = None if stopper.best_weights is None else int(stopper.best_weights["w"])
        last = stopper.decisions[-1]
        out.append((last.is_best, last.counted, stopper.trial_counter, stop, best_at))
    return out


@given(VALUES, SETTINGS)
def test_stopper_agrees_with_plain_python(values, settings):
    """The stopper decides as plain Python for ties, NaN, infinities, constants and negative scores, in every setting."""
    stopper = EarlyStopper(**settings)
    decisions = run(stopper, values)
    assert decisions == oracle(values, **settings)
    best_at = decisions[-1][-1] if decisions else None
    nothing = 0.0 if settings["mode"] == "max" else math.inf
    assert stopper.best_auc == (nothing if best_at is None else values[best_at])
    assert stopper.best_weights is None or math.isfinite(stopper.best_auc)


@given(VALUES, SETTINGS)
def test_stopper_max_of_x_is_min_of_minus_x(values, settings):
    """Maximising x gives the decisions of minimising -x."""
    baseline = settings["baseline"]
    turned = {"mode": "min" if settings["mode"] == "max" else "max", "baseline": None if baseline is None else -baseline}
    assert run(EarlyStopper(**settings), values) == run(EarlyStopper(**{**settings, **turned}), [-value for value in values])


@given(VALUES, SETTINGS, st.integers(0, 30))
def test_stopper_continues_from_its_state(values, settings, cut):
    """A stopper with the loaded state of another one makes the same decisions and holds the same record."""
    uninterrupted, first, second = (EarlyStopper(**settings) for _ in range(3))
    decisions = run(uninterrupted, values)
    run(first, values[:cut])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert run(second, values[cut:], start=cut) == decisions[cut:]
    assert repr(second.decisions) == repr(uninterrupted.decisions)
    assert second.best_auc == uninterrupted.best_auc


@given(VALUES, SETTINGS)
def test_stopper_records_each_decision(values, settings):
    """Each validation adds one record: the value, is_best, counted, trial_counter and a reason in words."""
    stopper = EarlyStopper(**settings)
    decisions = run(stopper, values)
    assert [math.isnan(c.value) or c.value for c in stopper.decisions] == [math.isnan(v) or v for v in values]
    assert [(c.is_best, c.counted, c.trial_counter) for c in stopper.decisions] == [decision[:3] for decision in decisions]
    assert all(decision.reason for decision in stopper.decisions)


@pytest.mark.parametrize("patience", [1, 2, 7])
def test_stopper_stops_after_patience_validations_in_a_row(patience):
    """Patience p stops at exactly the p-th validation in a row without improvement, where trial_counter is p."""
    stopper = EarlyStopper(patience)
    assert not stopper.stop_training(0.7, {})
    decisions = [stopper.stop_training(0.7, {}) for _ in range(patience)]
    assert decisions == [False] * (patience - 1) + [True]
    assert stopper.trial_counter == patience


@pytest.mark.parametrize(("mode", "start", "first"), [("max", 0.0, -3.0), ("min", math.inf, 3.0), (None, 0.0, -1e-9)])
def test_stopper_first_finite_value_is_best(mode, start, first):
    """best_auc starts at 0.0 or +inf, and the first finite value is best, whatever it is; NaN before it is not."""
    stopper = EarlyStopper(5, mode=mode)
    assert (stopper.best_auc, stopper.best_weights, stopper.trial_counter) == (start, None, 0)
    for nothing in (math.nan, math.inf, -math.inf):
        stopper.stop_training(nothing, {"w": 0})
        assert (stopper.best_auc, stopper.best_weights) == (start, None)
    stopper.stop_training(first, {"w": 1})
    assert (stopper.best_auc, stopper.best_weights) == (first, {"w": 1})


def test_stopper_best_weights_are_a_deep_copy():
    """No in-place change of the model and no later improvement changes best_weights."""
    layer = torch.nn.Linear(2, 1)
    stopper = EarlyStopper(3)
    stopper.stop_training(0.5, layer.state_dict())
    first, then = stopper.best_weights, copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        layer.weight.zero_()
    assert all(torch.equal(first[name], then[name]) for name in then)
    stopper.stop_training(0.6, layer.state_dict())
    assert stopper.best_weights is not first
    assert all(torch.equal(first[name], then[name]) for name in then)
    assert not stopper.best_weights["weight"].any()
    assert all(value.device.type == "cpu" and not value.requires_grad for value in stopper.best_weights.values())


def test_stopper_best_weights_load_into_the_model():
    """load_state_dict accepts best_weights, also for a module with buffers."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    stopper = EarlyStopper(1)
    stopper.stop_training(0.5, module.state_dict())
    module(torch.randn(8, 2))
    assert module[1].num_batches_tracked == 1
    module.load_state_dict(stopper.best_weights)
    assert module[1].num_batches_tracked == 0


def test_copy_of_weights_owns_its_memory():
    """A copy is no view, also of a piece of a larger tensor, and reuses only memory that fits."""
    table = torch.arange(12.0).view(4, 3)
    weights = copy_weights({"a": table[:2], "n": 3, "nested": {"list": [1]}})
    assert weights["a"].untyped_storage().nbytes() == weights["a"].nbytes
    again = copy_weights({"a": table[2:], "n": 4, "nested": {}}, into=weights)
    assert again["a"] is weights["a"]
    assert torch.equal(again["a"], table[2:])
    assert copy_weights({"a": table}, into=weights)["a"].shape == (4, 3)


@pytest.mark.parametrize("bad", [0, -1, True, False])
def test_stopper_refuses_a_patience_below_one(bad):
    """A patience below 1 and a bool are refused."""
    with pytest.raises(ValueError, match=r"patience must be an integer >= 1; got"):
        EarlyStopper(bad)


@pytest.mark.parametrize("bad", [1.0, 2.5, "3", [1]])
def test_stopper_refuses_a_patience_that_is_no_integer(bad):
    """A patience that is no integer is refused."""
    with pytest.raises(TypeError, match=r"patience must be an integer >= 1; got"):
        EarlyStopper(bad)


def test_stopper_takes_patience_and_mode_by_position():
    """patience has no default; after mode, every other argument is keyword-only."""
    with pytest.raises(TypeError):
        EarlyStopper()
    with pytest.raises(TypeError):
        EarlyStopper(3, "max", 0.1)
    assert EarlyStopper(np.int64(3)).patience == 3


@pytest.mark.parametrize(
    ("argument", "bad", "error"),
    [
        ("mode", "up", ValueError),
        ("min_delta", -0.1, ValueError),
        ("min_delta", math.nan, ValueError),
        ("min_delta", "x", TypeError),
        ("start_from", -1, ValueError),
        ("start_from", 1.5, TypeError),
        ("baseline", math.inf, ValueError),
    ],
)
def test_stopper_refuses_bad_settings(argument, bad, error):
    """An invalid setting raises an error that names it."""
    with pytest.raises(error, match=argument):
        EarlyStopper(3, **{argument: bad})


def test_stopper_accepts_any_single_number():
    """Tensors and numpy numbers are accepted; an array, None and a string are an error that shows them."""
    stopper = EarlyStopper(9)
    for value in (torch.tensor(0.5), np.float32(0.75), 1):
        stopper.stop_training(value, {})
    assert [decision.value for decision in stopper.decisions] == [0.5, 0.75, 1.0]
    for bad in (None, "high", [0.1, 0.2]):
        with pytest.raises(TypeError, match="must be one number"):
            stopper.stop_training(bad, {})
    assert len(stopper.decisions) == 3
