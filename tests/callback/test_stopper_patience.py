"""Patience in epochs and rows, and monitors of several metrics."""

from __future__ import annotations

import math

import pytest
import zoo
from hypothesis import given
from hypothesis import strategies as st
from test_stopper_limits import run

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.basic.callback.early_stopping import Patience, Position, StopReason, WeightedMonitor
from torch_rechub.basic.callback.state import TrainerState


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
