"""EMA and SWA: validations measure and save the averaged weights, and training does not use them."""

from __future__ import annotations

import math

import pytest
import torch
import zoo

from torch_rechub.basic.callback import EMA, SWA, Callback

WAYS = {"EMA": lambda: EMA(decay=0.8), "SWA": lambda: SWA(start_epoch=1)}


class Recorder(Callback):
    """Records the weights after each step, before each step, and at each validation."""

    def __init__(self):
        self.after, self.before, self.measured, self.at_steps = [], [], [], []

    def on_batch_begin(self, trainer):
        self.before.append(zoo.copy_of(trainer.model.state_dict()))

    def on_batch_end(self, trainer):
        self.after.append(zoo.copy_of(trainer.model.state_dict()))

    def on_validation_end(self, trainer):
        self.measured.append(zoo.copy_of(trainer.model.state_dict()))
        self.at_steps.append(trainer.state.step)


class Raises(Callback):
    def __init__(self, hook, n, error):
        self.hook, self.n, self.error = hook, n, error

    def _count(self, hook):
        self.n -= hook == self.hook
        if self.n == 0:
            self.n = -1
            raise self.error

    def on_validation_begin(self, trainer):
        self._count("on_validation_begin")

    def on_validation_batch_end(self, trainer):
        self._count("on_validation_batch_end")

    def on_validation_end(self, trainer):
        self._count("on_validation_end")

    def on_record(self, trainer):
        self._count("on_record")

    def on_batch_end(self, trainer):
        self._count("on_batch_end")


def fit(average=None, val=True, values=None, callbacks=(), **options):
    recorder = Recorder()
    averages = [average] if average is not None else []
    trainer = zoo.trainer(
        callbacks=[*averages, recorder, *callbacks], **{"n_epoch": 4, "val_every": 2, "earlystop_patience": None, **options}
    )
    if values is not None:
        trainer.evaluate_fn = zoo.Scripted(values)
    train, validation = zoo.loaders()
    trainer.fit(train, validation if val else None)
    return trainer, recorder


def naive(name, weights, at_steps, decay=0.8, start=0):
    """The averages at each validation, by a plain loop over steps in float64: dense weights at each step, tables at validations."""
    table = "embed_dict" in name
    average, seen, averages = None, 0, {}
    for t, w in enumerate([w[name].double() for w in weights[start:]], 1):
        if not table or t + start in at_steps:
            keep = 1.0
            for s in range(seen + 1, t + 1):
                keep *= (1 - 1 / s) if decay is None else min(decay, 1 - 1 / s)
            average = w if average is None else keep * average + (1 - keep) * w
            seen = t
        if t + start in at_steps:
            averages[t + start] = average
    return averages


@pytest.mark.parametrize("way", WAYS)
def test_averages_equal_a_naive_loop(way):
    """Each validation measures the averages of a naive loop: dense weights and batch statistics by step, tables by validation."""
    _, recorder = fit(WAYS[way]())
    decay, start = (0.8, 0) if way == "EMA" else (None, 4)
    for name, weight in recorder.measured[0].items():
        if not weight.is_floating_point():
            continue
        expected = naive(name, recorder.after, recorder.at_steps, decay, start)
        for measured, step in zip(recorder.measured, recorder.at_steps, strict=True):
            wanted = expected[step] if step > start else recorder.after[step - 1][name].double()
            torch.testing.assert_close(measured[name].double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_training_does_not_use_the_averages(way):
    """With and without averaging, the weights before and after each step are the same, bit for bit."""
    _, with_it = fit(WAYS[way]())
    _, without = fit()
    assert len(with_it.after) == len(without.after)
    assert all(zoo.same(a, b) for a, b in zip(with_it.after + with_it.before, without.after + without.before, strict=True))
    assert not zoo.same(with_it.measured[-1], without.measured[-1])


@pytest.mark.parametrize("way", WAYS)
def test_best_weights_and_model_pth_are_averages(way, tmp_path):
    """After fit the model, the stopper and model.pth hold the weights that the best validation measured."""
    values = [0.1, 0.2, 0.3, 0.4, 0.9, 0.5, 0.6, 0.7]
    trainer, recorder = fit(WAYS[way](), values=values, model_path=tmp_path)
    best = recorder.measured[4]
    assert zoo.same(trainer.model.state_dict(), best)
    assert zoo.same(trainer.early_stopper.best_weights, best)
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), best)
    assert not zoo.same(best, recorder.after[recorder.at_steps[4] - 1])


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize(
    ("hook", "n"),
    [("on_validation_begin", 4), ("on_validation_batch_end", 11), ("on_validation_end", 4), ("on_record", 4), ("on_batch_end", 7)],
)
def test_an_interrupted_run_ends_with_the_best_averages(hook, n, error, tmp_path):
    """An exception at any hook leaves the best averages that were measured in the model and in model.pth."""
    recorder = Recorder()
    trainer = zoo.trainer(callbacks=[EMA(0.8), recorder, Raises(hook, n, error)], n_epoch=4, val_every=2, model_path=tmp_path)
    values = [0.5, 0.7, 0.6, 0.8, 0.1, 0.1, 0.1, 0.1]
    trainer.evaluate_fn = zoo.Scripted(values)
    with pytest.raises(type(error)):
        trainer.fit(*zoo.loaders())
    n_record = len(trainer.history)
    best = recorder.measured[max(range(n_record), key=lambda i: values[i])]
    assert zoo.same(trainer.model.state_dict(), best)
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), best)


class WeightsAtException(Callback):
    """Records the weights that the model holds in on_exception; it is listed behind the averages."""

    def on_exception(self, trainer):
        self.weights = zoo.copy_of(trainer.model.state_dict())


@pytest.mark.parametrize("hook", ["on_validation_begin", "on_validation_batch_end"])
def test_an_exception_within_a_validation_returns_the_training_weights(hook):
    """An exception within a validation returns the training weights before on_exception."""
    recorder, late = Recorder(), WeightsAtException()
    trainer = zoo.trainer(callbacks=[EMA(0.8), recorder, Raises(hook, 3, ValueError("broken")), late], n_epoch=4, val_every=2)
    with pytest.raises(ValueError, match="broken"):
        trainer.fit(*zoo.loaders())
    assert zoo.same(late.weights, recorder.after[-1])


@pytest.mark.parametrize("values", [None, [math.nan] * 8], ids=["no validation", "never finite"])
def test_without_a_best_validation_the_last_averages_remain(values, tmp_path):
    """Without a best validation, the model and model.pth hold the averages of all steps."""
    trainer, recorder = fit(EMA(0.8), val=values is not None, values=values, model_path=tmp_path)
    ends = recorder.at_steps if values is not None else [16]
    for name, weight in trainer.model.state_dict().items():
        if weight.is_floating_point():
            expected = naive(name, recorder.after, ends)[16]
            torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), trainer.model.state_dict())


def test_swa_before_start_epoch_measures_plain_weights():
    """A run that ends before start_epoch gives the weights of a run without averaging."""
    trainer, _ = fit(SWA(start_epoch=9))
    plain, _ = fit()
    assert zoo.same(trainer.model.state_dict(), plain.model.state_dict())


@pytest.mark.parametrize("make", [lambda: EMA(1.0), lambda: EMA(0.0), lambda: EMA(math.nan), lambda: SWA(-1)])
def test_averages_refuse_bad_arguments(make):
    """A decay outside (0, 1) and a negative start_epoch are errors."""
    with pytest.raises(ValueError, match="must be"):
        make()


def test_two_averages_at_once_are_refused():
    """Two averaging callbacks in one trainer are an error before the first step."""
    with pytest.raises(ValueError, match="one EMA or one SWA"):
        fit(EMA(0.9), callbacks=[SWA(0)])
