"""Significant improvements, and one-epoch overfitting, against plain Python."""

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
from torch_rechub.basic.callback.early_stopping import StopReason, one_epoch_overfitting
from torch_rechub.basic.metric import auc_score, delong_test, grouped_bootstrap_test
from torch_rechub.data import DataGenerator


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
