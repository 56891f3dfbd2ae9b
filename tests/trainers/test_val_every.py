"""When a run validates, and what callbacks may request."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import zoo
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback
from torch_rechub.data import TorchDataset
from torch_rechub.engine.validation_times import ValidationTimes


@pytest.mark.parametrize(
    ("val_every", "accumulate", "steps"),
    [
        (None, 1, [8, 16]),
        (1.0, 1, [8, 16]),
        (0.5, 1, [4, 8, 12, 16]),
        (0.3, 1, [2, 5, 7, 8, 10, 13, 15, 16]),
        (3, 1, [3, 6, 8, 11, 14, 16]),
        (8, 1, [8, 16]),
        (100, 1, [8, 16]),
        (1, 1, list(range(1, 17))),
        (0.5, 3, [2, 3, 5, 6]),
        (2, 3, [2, 3, 5, 6]),
    ],
)
def test_validations_follow_val_every(val_every, accumulate, steps):
    """Validations follow a fraction of an epoch or a number of steps, and each epoch's end; never two after one step."""
    trainer = zoo.trainer(n_epoch=2, val_every=val_every, accumulate=accumulate)
    history = trainer.fit(*zoo.loaders(batch_size=8))
    assert history["step"] == steps
    assert history["epoch"] == [1 if step <= steps[-1] // 2 else 2 for step in steps]
    assert history["rows"][-1] == 128


@given(st.integers(1, 400), st.integers(1, 60))
def test_a_fraction_spreads_validations_evenly(n_step, n_validation):
    """With val_every=1/n the validations of an epoch lie at most half a step from its n-ths, for any length of the epoch."""
    times = ValidationTimes(1 / n_validation)
    due = [step for step in range(1, n_step) if times.due(step, n_step)]
    exact = [Fraction(k * n_step, n_validation) for k in range(1, n_validation)]
    half = Fraction(1, 2) + Fraction(1, 10**9)
    assert all(any(abs(step - x) <= half for x in exact) for step in due)
    assert all(any(abs(step - x) <= half for step in due) for x in exact if 1 <= x <= n_step - 1)
    assert len(due) <= n_validation


@pytest.mark.parametrize("bad", ["x", 0, -1, 0.0, 1.5, -0.5, True, float("nan"), [1]])
def test_val_every_refuses_bad_values(bad):
    """Anything but a fraction in (0, 1] or a number of steps is an error at construction."""
    with pytest.raises(ValueError, match="val_every must be a fraction"):
        zoo.trainer(val_every=bad)


def test_a_fraction_needs_a_length():
    """A fraction of an epoch of unknown length is an error before the first step, and a number of steps works."""
    train, val = zoo.loaders()
    batches = list(train)
    trainer = zoo.trainer(val_every=0.5)
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(ValueError, match=r"val_every=0\.5 is a fraction of an epoch, and the training loader has no length"):
        trainer.fit(iter(batches), val)
    assert zoo.same(trainer.model.state_dict(), before)
    assert zoo.trainer(val_every=2, n_epoch=1).fit(iter(batches), val)["step"] == [2, 4]


def test_patience_counts_validations():
    """With several validations an epoch, patience counts validations, and the run ends within the epoch."""
    ended = []

    class Ends(Callback):
        def on_epoch_end(self, trainer):
            ended.append(trainer.state.epoch)

    trainer = zoo.trainer(n_epoch=9, val_every=1, earlystop_patience=2, callbacks=[Ends()])
    trainer.evaluate_fn = zoo.Scripted([0.5, 0.6, 0.6, 0.5, 0.9])
    history = trainer.fit(*zoo.loaders())
    assert history["step"] == [1, 2, 3, 4]
    assert history["trial_counter"] == [0, 0, 1, 2]
    assert ended == [0]


class RequestsAtBatch(Callback):
    """Makes a request at a batch, and records where it takes effect."""

    def __init__(self, batch, what):
        self.batch, self.what, self.saved, self.validated = batch, what, [], []

    def on_batch_end(self, trainer):
        if trainer.state.epoch == 0 and trainer.state.batch == self.batch:
            getattr(trainer, f"request_{self.what}")(*(["because"] if self.what == "stop" else []))

    def on_save(self, trainer):
        self.saved.append((trainer.state.step, trainer.state.batch))

    def on_validation_begin(self, trainer):
        self.validated.append((trainer.state.step, trainer.state.batch))


@pytest.mark.parametrize(("batch", "takes_effect"), [(1, (1, 3)), (2, (1, 3)), (3, (1, 3)), (4, (2, 6)), (7, (3, 8)), (8, (3, 8))])
@pytest.mark.parametrize("what", ["validation", "save", "stop"])
def test_requests_take_effect_between_optimizer_steps(batch, takes_effect, what, tmp_path):
    """With 3 batches a step (the last group of 2), a request takes effect after the step of its batch."""
    requests = RequestsAtBatch(batch, what)
    trainer = zoo.trainer(zoo.plain_model(), n_epoch=1, accumulate=3, callbacks=[requests], model_path=tmp_path)
    trainer.evaluate_fn = zoo.Scripted([0.5, 0.4])
    history = trainer.fit(*zoo.loaders(batch_size=8), resume="auto")
    if what == "validation":
        assert requests.validated == sorted({takes_effect, (3, 8)})
    elif what == "save":
        assert takes_effect in requests.saved
    else:
        assert (trainer.state.step, trainer.state.batch) == takes_effect
        assert history.stop_reason == "because"


def test_requests_do_not_outlive_their_run():
    """A request of one fit that had no effect is not made in the next fit."""
    trainer = zoo.trainer(n_epoch=2)
    train, val = zoo.loaders()
    trainer.request_stop("before any run")
    assert trainer.fit(train, val).stop_reason is None


@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_validations_change_only_the_history(kind):
    """With validations at every step, random numbers, batch statistics and weights are those without any."""
    train, val = zoo.loaders()
    if kind == "plain":  # its iteration draws from torch's random state
        val = DataLoader(TorchDataset(zoo.columns(40, 7), zoo.labels(zoo.columns(40, 7), 7)), batch_size=16)
    runs = []
    for val_every in (None, 1):
        watch = zoo.Watch()
        trainer = zoo.trainer(val_every=val_every, callbacks=[watch], optimizer_fn=torch.optim.RMSprop)
        trainer.fit(train, val)
        runs.append((watch.at_batch, torch.get_rng_state()))
    assert all(zoo.same(a, b) for a, b in zip(runs[0][0], runs[1][0], strict=True))
    assert torch.equal(runs[0][1], runs[1][1])


def test_a_module_in_evaluation_mode_keeps_it_in_a_validation():
    """A validation restores the mode of every single module."""
    frozen = []

    class Freeze(Callback):
        def on_batch_begin(self, trainer):
            frozen.append(trainer.model.mlp.training)
            trainer.model.mlp.eval()

    trainer = zoo.trainer(n_epoch=1, val_every=1, callbacks=[Freeze()])
    trainer.fit(*zoo.loaders())
    assert frozen == [True, False, False, False]
