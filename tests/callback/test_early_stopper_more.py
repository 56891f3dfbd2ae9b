"""Targets, limits, patience in epochs and rows, several metrics, significance and reasons, each against plain Python."""

from __future__ import annotations

import copy
import math

import hypothesis
import numpy as np
import pytest
import torch
import zoo
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.basic.callback.early_stopping import Patience, Position, StopReason, WeightedMonitor, one_epoch_overfitting
from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.basic.metric import auc_score, delong_test, grouped_bootstrap_test
from torch_rechub.data import DataGenerator

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


# patience in words


@pytest.mark.parametrize(
    ("words", "amount", "unit"),
    [
        ("3 checks", 3, "validation"),
        ("3 validations", 3, "validation"),
        ("1 epoch", 1, "epoch"),
        (" 2  epochs ", 2, "epoch"),
        ("5_000_000 rows", 5_000_000, "row"),
        ("7rows", 7, "row"),
    ],
)
def test_patience_is_parsed_from_words(words, amount, unit):
    """Patience in words is a whole number and a unit, in singular or plural."""
    assert Patience.read(words) == Patience(amount, unit)
    assert EarlyStopper(words).patience == words


@pytest.mark.parametrize("words", ["", "epochs", "0 epochs", "2 weeks", "1.5 epochs", "-1 rows", "2 epochs 3 rows", "_ rows"])
def test_patience_in_wrong_words_is_refused(words):
    """The error shows the words that came and the units that are allowed."""
    with pytest.raises(ValueError, match=r"patience must be an integer >= 1, or that many of a unit; got .*'3 validations', '2 epochs'"):
        EarlyStopper(words)


def test_patience_by_hand_counts_validations_only():
    """By hand, patience in epochs or rows is an error at the first validation; validations in words are counted."""
    for words in ("2 epochs", "100 rows"):
        with pytest.raises(ValueError, match="is counted in a trainer; by hand only validations are"):
            EarlyStopper(words).stop_training(0.5, {})
    assert run(EarlyStopper("2 checks"), [0.5, 0.5, 0.5]) == [None, None, "patience"]


@given(
    st.integers(1, 3),
    st.integers(1, 5),
    st.lists(st.booleans(), min_size=1, max_size=30),
    st.integers(0, 3),
    st.sampled_from(["epoch", "row"]),
)
def test_patience_in_epochs_and_rows_is_exact(amount, n_batch, improves, start_from, unit):
    """A validation after every batch: the run stops at the first one that many epochs or rows behind the last improvement."""
    stopper = EarlyStopper(f"{amount * (1 if unit == 'epoch' else 4)} {unit}s", start_from=start_from)
    since, reference, value, stops, expected = 0, None, 0.0, [], []
    for i, improved in enumerate(improves, 1):  # batches of 2 rows
        epoch, batch = divmod(i - 1, n_batch)
        stopper._position = Position.of(TrainerState(epoch=epoch, batch=batch + 1, n_batch=n_batch, rows=2 * i))
        value += improved
        stops.append(stopper.stop_training(value, {}))
        if i <= start_from:
            since = i
        elif reference is None or value > reference:
            since, reference = i, value
        waited, wait = (i - since, amount * n_batch) if unit == "epoch" else (2 * (i - since), 4 * amount)
        expected.append(waited >= wait)
    assert stops == expected


@pytest.mark.parametrize(
    ("patience", "n_validation"), [(2, 3), ("2 checks", 3), ("1 epoch", 5), ("2 epochs", 9), ("64 rows", 5), ("65 rows", 6)]
)
def test_patience_in_a_trainer_counts_from_the_last_improvement(patience, n_validation):
    """With 64 rows and four validations an epoch, of which the first is best, the run ends where the patience is exceeded."""
    trainer = zoo.trainer(callbacks=[EarlyStopper(patience)], n_epoch=9, val_every=0.25)
    trainer.evaluate_fn = zoo.Scripted([0.9] + [0.5] * 40)
    history = trainer.fit(*zoo.loaders())
    assert len(history) == n_validation
    assert trainer.early_stopper.reason is StopReason.PATIENCE
    assert history.stop_reason == trainer.early_stopper.sentence


# several metrics


def test_weighted_monitor_is_the_weighted_sum():
    """By hand and in a trainer the monitored value is the weighted sum, larger is better, and the record holds it as "monitored"."""
    weights = {"auc": 1, "logloss": -2}
    stopper = EarlyStopper(3, monitor=weights)
    stopper.stop_training({"auc": 0.7, "logloss": 0.5}, {})
    stopper.stop_training(-0.25, {})
    assert [decision.value for decision in stopper.decisions] == [pytest.approx(-0.3), -0.25]
    assert stopper.best_auc == -0.25
    trainer = zoo.trainer(callbacks=[EarlyStopper(9, monitor=weights)])
    train, val = zoo.loaders()
    history = trainer.fit(train, val)
    sums = [record["auc"] - 2 * record["logloss"] for record in history]
    assert history["monitored"] == sums
    measured = trainer.measure(trainer.model, val)
    assert measured["auc"] - 2 * measured["logloss"] == max(sums)


def test_weighted_monitor_of_nan_is_no_improvement():
    """One metric that is NaN makes the sum NaN."""
    stopper = EarlyStopper(3, monitor={"auc": 1, "logloss": -1})
    stopper.stop_training({"auc": math.nan, "logloss": 0.1}, {})
    assert (stopper.trial_counter, stopper.best_weights) == (1, None)


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"auc": 1, "gauc": 1}, "'gauc' is not measured"), ({"auc": 1, "logloss": 1}, "must be below 0"), ({"auc": -1}, "must be above 0")],
)
def test_weighted_monitor_is_checked_before_training(weights, message):
    """An unknown name and a weight against a metric's direction are errors before the first step."""
    trainer = zoo.trainer(callbacks=[EarlyStopper(3, monitor=weights)])
    with pytest.raises(ValueError, match=message):
        trainer.fit(*zoo.loaders())
    assert trainer.state.step == 0


def test_weighted_monitor_by_hand_names_the_missing_metric():
    """The error names a metric that was not passed."""
    with pytest.raises(ValueError, match="names 'logloss', which is not measured"):
        WeightedMonitor({"auc": 1, "logloss": -1})({"auc": 0.5})


# significance


def validations_of(seed, n=60, n_validation=6):
    """Labels, groups, and the scores of validations of varying quality."""
    random = np.random.default_rng(seed)
    y, groups = random.integers(0, 2, n), random.integers(0, 9, n)
    y[:4] = [0, 1, 0, 1]
    return y, groups, [(y * quality + random.normal(size=n)).round(1) for quality in random.uniform(0, 3, n_validation)]


@hypothesis.settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.3]), st.booleans(), st.integers(0, 2), st.sampled_from([None, 0.6]))
def test_significance_agrees_with_plain_python(seed, alpha, grouped, start_from, baseline):
    """An improvement is a better AUC whose paired test against the meaningful best's predictions has p < alpha."""
    y, groups, scores = validations_of(seed)
    names = {"groups": "user"} if grouped else {}
    stopper = EarlyStopper(2, min_delta="significant", alpha=alpha, start_from=start_from, baseline=baseline, **names)
    reference, reference_p, counter = baseline, None, 0
    for i, p in enumerate(scores):
        area = auc_score(y, p)
        stopper.stop_training(area, {"w": i}, y_true=torch.tensor(y), y_pred=p, groups=groups)
        better = reference is None or area > reference
        if better and reference_p is not None:
            test = grouped_bootstrap_test(y, p, reference_p, groups) if grouped else delong_test(y, p, reference_p)
            better = test.p_value < alpha and test.difference > 0
        if i >= start_from:
            reference, reference_p, counter = (area, p, 0) if better else (reference, reference_p, counter + 1)
        assert stopper.decisions[-1].counted == (better and i >= start_from)
        assert stopper.trial_counter == counter
    areas = [auc_score(y, p) for p in scores]
    assert stopper.best_weights == {"w": areas.index(max(areas))}


@given(st.integers(0, 10_000), st.integers(0, 6))
def test_significance_continues_from_the_state(seed, cut):
    """The state holds the reference's predictions as tensors."""
    y, _, scores = validations_of(seed)

    def feed(stopper, part):
        return [stopper.stop_training(auc_score(y, p), {}, y_true=y, y_pred=p) for p in part]

    uninterrupted, first, second = (EarlyStopper(2, min_delta="significant") for _ in range(3))
    expected = feed(uninterrupted, scores)
    feed(first, scores[:cut])
    state = first.state_dict()
    assert cut == 0 or all(isinstance(column, torch.Tensor) for column in state["rows"].values())
    second.load_state_dict(copy.deepcopy(state))
    assert feed(second, scores[cut:]) == expected[cut:]
    assert second.decisions == uninterrupted.decisions


def test_significance_keeps_copies_of_the_predictions():
    """Arrays that change after a validation do not change the reference."""
    y, p = np.array([0, 0, 1, 1] * 10), np.linspace(0, 1, 40)
    stopper = EarlyStopper(2, min_delta="significant")
    stopper.stop_training(0.5, {}, y_true=y, y_pred=p)
    p[:] = 0
    assert stopper.significance.reference["y_pred"][-1] == 1


def test_significance_needs_the_same_rows():
    """Missing predictions, and rows in another order, are an error, and no decision is made."""
    stopper = EarlyStopper(2, min_delta="significant")
    with pytest.raises(ValueError, match="needs y_true"):
        stopper.stop_training(0.5, {})
    y, p = np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3])
    stopper.stop_training(0.5, {}, y_true=y, y_pred=p)
    with pytest.raises(ValueError, match="same validation rows in the same order"):
        stopper.stop_training(0.6, {}, y_true=y[::-1].copy(), y_pred=p)
    assert len(stopper.decisions) == 1
    with pytest.raises(ValueError, match="needs groups"):
        EarlyStopper(2, min_delta="significant", groups="user").stop_training(0.5, {}, y_true=y, y_pred=p)


@pytest.mark.parametrize("groups", [None, "user"])
def test_significance_in_a_trainer_equals_that_by_hand(groups):
    """The trainer passes labels, predictions and groups to the stopper; without such a stopper it stores none."""
    seen = []

    class Listening(EarlyStopper):
        def on_validation_end(self, trainer):
            seen.append({name: column.numpy() for name, column in trainer.state.predictions.items()})
            super().on_validation_end(trainer)

    trainer = zoo.trainer(callbacks=[Listening(2, min_delta="significant", groups=groups)], n_epoch=8, optimizer_params={"lr": 0.01})
    train, val = zoo.loaders(n=200, n_val=100)
    history = trainer.fit(train, val)
    by_hand = EarlyStopper(2, min_delta="significant", groups=groups)
    for record, rows in zip(history, seen, strict=True):
        by_hand.stop_training(record["auc"], {}, y_true=rows["y_true"], y_pred=rows["y_pred"], groups=rows.get("user"))
        assert auc_score(rows["y_true"], rows["y_pred"]) == record["auc"]
    assert [decision.counted for decision in by_hand.decisions] == [decision.counted for decision in trainer.early_stopper.decisions]
    assert groups is None or np.array_equal(seen[0]["user"], zoo.columns(100, seed=7)["user"])
    assert "p = " in " ".join(history["verdict"])
    plain = zoo.trainer()
    plain.fit(train, val)
    assert plain.state.predictions is None


def test_significance_monitors_the_auc_only():
    """Another metric, weighted rows, and a missing column are errors that name them."""
    for metric, match in (("logloss", "the monitored metric is 'logloss'"), ("gauc", "the monitored metric is 'gauc'")):
        from torch_rechub.basic.metric import GAUC

        measured = GAUC("user") if metric == "gauc" else metric
        trainer = zoo.trainer(callbacks=[EarlyStopper(2, min_delta="significant")], metrics=[measured])
        with pytest.raises(ValueError, match=match):
            trainer.fit(*zoo.loaders())
    trainer = zoo.trainer(callbacks=[EarlyStopper(2, min_delta="significant")])
    with pytest.raises(ValueError, match="does not support row weights"):
        trainer.fit(*zoo.loaders(weight_val=np.ones(40)))
    trainer = zoo.trainer(callbacks=[EarlyStopper(2, min_delta="significant", groups="usr")])
    with pytest.raises(ValueError, match="Did you mean 'user'"):
        trainer.fit(*zoo.loaders())


# one-epoch overfitting


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.5, 0.6, 0.7, 0.7005, math.nan]), st.sampled_from([0.5, 0.499, 0.4])), max_size=8
    )
)
def test_one_epoch_overfitting_agrees_with_plain_python(steps):
    """The reason is given where the AUC falls by 0.2 % and the training loss by 1 % between epochs 1 and 2, in both directions."""
    epochs = list(np.cumsum([step for step, _, _ in steps]) + 1)
    values, losses = [v for _, v, _ in steps], [loss for _, _, loss in steps]
    finite = [v for v in values if v == v]
    expected = False
    for i in range(1, len(steps)):
        if (epochs[i - 1], epochs[i]) == (1, 2) and finite:
            best = values.index(max(finite))
            fell = values[i - 1] - values[i] > 0.002 * max(finite)
            expected = epochs[best] == 1 and fell and losses[i] < 0.99 * losses[i - 1]
    assert (one_epoch_overfitting(epochs, values, losses, "max") is not None) == expected
    assert (one_epoch_overfitting(epochs, [-v for v in values], losses, "min") is not None) == expected


@pytest.mark.parametrize(("scores", "expected"), [([0.7, 0.6, 0.6], True), ([0.7, 0.7, 0.7], False), ([0.6, 0.7, 0.6, 0.6], False)])
def test_one_epoch_overfitting_is_reported_and_changes_no_decision(scores, expected):
    """The sentence reports one-epoch overfitting, and the run ends at the same validation with the same weights either way."""
    x, y = zoo.columns(400), np.random.default_rng(0).integers(0, 2, 400).astype(np.float32)
    x["user"] = np.arange(400)  # one id per row: what an epoch memorises helps only on the same rows
    model = _memorizer()
    trainer = zoo.trainer(model, callbacks=[EarlyStopper(2)], n_epoch=9, optimizer_params={"lr": 0.1})
    trainer.evaluate_fn = zoo.Scripted([*scores, 0.0])
    train = DataGenerator(x, y).generate_dataloader(x_val=x, y_val=y, batch_size=50, seed=0)[0]
    history = trainer.fit(train, train)
    assert len(history) == len(scores)
    assert trainer.early_stopper.reason is (StopReason.ONE_EPOCH_OVERFITTING if expected else StopReason.PATIENCE)
    assert history.stop_reason == trainer.early_stopper.sentence
    assert history.stop_reason.startswith("one-epoch overfitting: as epoch 2 began" if expected else "no improvement in 2 validations")


def _memorizer():
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models.ranking import DeepFM

    user = SparseFeature("user", 400, 4)
    torch.manual_seed(0)
    return DeepFM([user], [user], {"dims": [8]})
