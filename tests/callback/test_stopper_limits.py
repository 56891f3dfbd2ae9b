"""Targets, limits and baselines of the early stopper, against plain Python."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.basic.callback.early_stopping import StopReason

FEW = st.sampled_from([0.0, 0.5, 0.51, 0.6, -0.5, math.nan, math.inf, -math.inf])
VALUES = st.lists(st.one_of(FEW, st.floats(-2, 2)), max_size=20)
SETTINGS = st.fixed_dictionaries(
    {
        "patience": st.integers(1, 4),
        "min_delta": st.sampled_from([0.0, 0.01]),
        "start_from": st.integers(0, 3),
        "target": st.sampled_from([None, 0.6, 1.5]),
        "divergence": st.sampled_from([None, -0.5, 0.5]),
    }
)


def sign_turned(settings):
    turned = {name: None if settings[name] is None else -settings[name] for name in ("target", "divergence")}
    return {**settings, **turned, "mode": "min"}


def reasons(values, patience, min_delta, start_from, target, divergence):
    """The reason why a stopper with mode="max" stops, or None, at each validation."""
    reference, counter, out = None, 0, []
    for i, value in enumerate(values):
        finite = math.isfinite(value)
        if i >= start_from:
            if finite and (reference is None or value - reference > min_delta):
                reference, counter = value, 0
            else:
                counter += 1
        if target is not None and finite and value >= target:
            out.append("target")
        elif divergence is not None and i >= start_from and value < divergence:
            out.append("divergence")
        else:
            out.append("patience" if counter >= patience else None)
    return out


def run(stopper, values):
    out = []
    for value in values:
        stop = stopper.stop_training(value, {})
        assert stop == (stopper.reason is not None) == bool(stopper.sentence)
        out.append(stopper.reason and stopper.reason.value)
    return out


@given(VALUES, SETTINGS)
def test_stopper_limits_agree_with_plain_python(values, settings):
    """A target or a limit stops at once, before patience; NaN reaches neither, and ignored validations do not diverge."""
    assert run(EarlyStopper(**settings), values) == reasons(values, **settings)


@given(VALUES, SETTINGS)
def test_stopper_limits_of_max_x_are_those_of_min_of_minus_x(values, settings):
    """Maximising x stops at the same validation, for the same reason, as minimising -x."""
    assert run(EarlyStopper(**settings), values) == run(EarlyStopper(**sign_turned(settings)), [-value for value in values])


@given(VALUES, SETTINGS, st.integers(0, 20))
def test_stopper_limits_continue_from_the_state(values, settings, cut):
    """The state holds the reason and its sentence, and a stopper that loads it decides as the first one would."""
    uninterrupted, first, second = (EarlyStopper(**settings) for _ in range(3))
    expected = run(uninterrupted, values)
    run(first, values[:cut])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert (second.reason, second.sentence) == (first.reason, first.sentence)
    assert run(second, values[cut:]) == expected[cut:]
    assert repr(second.state_dict()) == repr(uninterrupted.state_dict())


def test_stopper_sentence_names_the_numbers():
    """The sentence names the value that was reached, and REASONS explains each reason."""
    stopper = EarlyStopper(1, target=0.8, divergence=0.5)
    sentences = []
    for value in (0.7, 0.7, 0.4, 0.81):
        stopper.stop_training(value, {})
        sentences.append(stopper.sentence)
    assert sentences == [
        "",
        "no improvement in 1 validation (best 0.7)",
        "diverged: 0.4 is worse than 0.5 (best 0.7)",
        "target 0.8 reached: 0.81 (best 0.81)",
    ]
    assert len({reason.meaning for reason in StopReason}) == len(StopReason)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 0.5, "divergence": 0.6, "mode": "max"}, "target must lie above divergence"),
        ({"target": 0.6, "divergence": 0.5, "mode": "min"}, "target must lie below divergence"),
        ({"target": math.nan}, "target must be finite"),
        ({"divergence": math.inf}, "divergence must be finite"),
        ({"monitor": {}}, "at least one metric"),
        ({"monitor": {"auc": 0}}, "must not be 0"),
        ({"monitor": {"auc": math.inf}}, "must be finite"),
        ({"monitor": {"auc": 1}, "mode": "min"}, "larger is better"),
        ({"monitor": {"auc": 1}, "min_delta": "significant"}, "Monitor 'auc' alone"),
        ({"min_delta": "significant", "mode": "min"}, "larger is better"),
        ({"groups": "user"}, "min_delta='significant' alone"),
        ({"min_delta": "significant", "alpha": 0.0}, "alpha must lie between 0 and 1"),
        ({"min_delta": "significant", "alpha": 1.0}, "alpha must lie between 0 and 1"),
    ],
)
def test_stopper_refuses_contradictory_settings(settings, message):
    """A setting that contradicts itself or another one raises an error that names it, at construction."""
    with pytest.raises(ValueError, match=message):
        EarlyStopper(3, **settings)


def test_stopper_by_hand_refuses_limits_of_the_other_direction():
    """Without a mode the direction is max: limits for a minimum are an error at the first validation."""
    with pytest.raises(ValueError, match="target must lie above divergence"):
        EarlyStopper(3, target=0.1, divergence=1.0).stop_training(0.5, {})
