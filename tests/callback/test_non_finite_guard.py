"""NonFiniteGuard: a step that is not finite changes no weight, is counted and written out, and triggers the action."""

from __future__ import annotations

import math

import pytest
import torch
import zoo
from safetensors.torch import load_file
from torch import nn

from torch_rechub.basic.callback import Callback, NonFiniteGuard


class Poison:
    """The binary cross-entropy; at some calls NaN, infinite, or with a gradient that is not finite."""

    def __init__(self, at=(), how="nan"):
        self.at, self.how, self.n = set(at), how, 0

    def __call__(self, scores, y):
        self.n += 1
        loss = nn.functional.binary_cross_entropy(scores, y)
        if self.n not in self.at:
            return loss
        if self.how == "gradient":  # a finite value with an infinite slope
            return loss + (scores - scores.detach()).clamp(min=0).sqrt().sum()
        return loss * {"nan": math.nan, "inf": math.inf}[self.how]


class Without:
    """A list of batches as a loader."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


class ZeroGradient(Callback):
    """Makes the gradient of some steps zero, as a bad step on a GPU has it."""

    def __init__(self, at):
        self.at = at

    def on_backward_end(self, trainer):
        if trainer.state.step + 1 in self.at:
            for parameter in trainer.model.parameters():
                grad = parameter.grad
                (grad._values() if grad.is_sparse else grad).zero_()


class Rates(Callback):
    """Records the rate of each step, and the weights before it."""

    def __init__(self):
        self.rates, self.weights = [], []

    def on_batch_begin(self, trainer):
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])
        self.weights.append(zoo.copy_of(trainer.model.state_dict()))


def batches(n=128):
    return list(zoo.loaders(n)[0])


def run(train, at=(), how="nan", callbacks=(), model=None, val=None, **options):
    settings = {"n_epoch": 1, "callbacks": callbacks, "optimizer_fn": torch.optim.Adam} | options
    trainer = zoo.trainer(zoo.model(dropout=0.0) if model is None else model, **settings)
    trainer.criterion = Poison(at, how)
    trainer.fit(Without(train), val)
    return trainer


@pytest.mark.parametrize("how", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("optimizer_fn", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_a_skipped_step_equals_a_run_without_its_batch(how, optimizer_fn):
    """On the CPU a run with skipped batches ends as one without them: bit for bit, and lagging rows to rounding."""
    train = batches()
    trainer = run(train, at=[3, 4, 7], how=how, callbacks=[NonFiniteGuard()], optimizer_fn=optimizer_fn)
    other = run([batch for i, batch in enumerate(train, 1) if i not in {3, 4, 7}], optimizer_fn=optimizer_fn)
    exact = optimizer_fn is not torch.optim.Adam  # the bad batch brought the rows that it read up to date
    if exact:
        assert zoo.same(trainer.model.state_dict(), other.model.state_dict())
    torch.testing.assert_close(trainer.model.state_dict(), other.model.state_dict(), rtol=1e-4, atol=1e-6)
    assert trainer.history[-1]["nonfinite"] == 3
    assert trainer.history[-1]["loss"] == pytest.approx(other.history[-1]["loss"], rel=1e-5)


def test_late_a_bad_step_has_a_gradient_of_zero():
    """With late=True a bad step is a step whose gradients are zero, in which Adam moves by its momentum."""
    train = batches()
    guarded = run(train, at=[3, 4, 7], callbacks=[NonFiniteGuard(late=True)], model=zoo.plain_model())
    zeroed = run(train, callbacks=[ZeroGradient({3, 4, 7})], model=zoo.plain_model())
    assert zoo.same(guarded.model.state_dict(), zeroed.model.state_dict())
    assert guarded.history[-1]["nonfinite"] == 3


def test_late_a_bad_step_changes_nothing_under_sgd():
    """With late=True and no momentum a bad step changes no weight, and batch statistics are restored."""
    train = batches()
    guarded = run(train, at=[2, 8], callbacks=[NonFiniteGuard(late=True)], optimizer_fn=torch.optim.SGD)
    other = run([batch for i, batch in enumerate(train, 1) if i not in {2, 8}], optimizer_fn=torch.optim.SGD)
    assert zoo.same(guarded.model.state_dict(), other.model.state_dict())
    assert guarded.history[-1]["nonfinite"] == 2


@pytest.mark.parametrize("late", [False, True])
def test_the_guard_changes_no_bit_of_a_finite_run(late):
    """Where everything is finite, the guard changes nothing."""
    train = batches()
    assert zoo.same(run(train, callbacks=[NonFiniteGuard(late=late)]).model.state_dict(), run(train).model.state_dict())


def test_late_a_decision_is_read_in_the_next_step(monkeypatch):
    """With late=True a decision is read after the next step's gradients are computed."""
    from torch_rechub.basic.callback import non_finite_guard

    log = []
    real = non_finite_guard._Flag

    class Watched(real):
        def __init__(self, value):
            super().__init__(value)
            self.number = sum(entry[0] == "made" for entry in log) + 1
            log.append(("made", self.number))

        def read(self):
            log.append(("read", self.number))
            return super().read()

    monkeypatch.setattr(non_finite_guard, "_Flag", Watched)
    run(batches(64), callbacks=[NonFiniteGuard(late=True)])
    expected = [("made", 1), ("read", 1), ("made", 2), ("read", 2), ("made", 3), ("read", 3), ("made", 4), ("read", 4)]
    assert log == expected


@pytest.mark.parametrize(("late", "step"), [(False, 5), (True, 6)])
def test_stop_ends_the_run_at_the_bad_step_or_one_later(late, step):
    """action="stop" ends the run and names the step."""
    trainer = run(batches(), at=[5], callbacks=[NonFiniteGuard("stop", late=late)])
    assert trainer.state.step == step
    assert trainer.history.stop_reason == "the loss or a gradient was not finite at step 5"
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())


def test_too_many_bad_steps_in_a_row_end_the_run():
    """limit bad steps in a row stop the run, and as many separate ones do not."""
    trainer = run(batches(), at=[2, 4, 5, 6], callbacks=[NonFiniteGuard(limit=3)])
    assert (trainer.state.step, "all of the last 3" in trainer.history.stop_reason) == (6, True)
    assert run(batches(), at=[1, 3, 5, 7], callbacks=[NonFiniteGuard(limit=2)]).history.stop_reason is None


@pytest.mark.parametrize(("late", "back_at"), [(False, 6), (True, 7)])
@pytest.mark.parametrize("optimizer_fn", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_rollback_restores_the_last_validation_with_a_lower_rate(late, back_at, optimizer_fn):
    """The step after the bad one starts from the last validation's weights, at half the rate."""
    rates, val = Rates(), zoo.loaders()[1]
    guard = NonFiniteGuard("rollback", late=late)
    trainer = run(batches(), at=[5], callbacks=[guard, rates], val=val, val_every=3, optimizer_fn=optimizer_fn, n_epoch=2)
    assert zoo.same(rates.weights[back_at - 1], rates.weights[3])
    assert rates.rates == [0.05] * (back_at - 1) + [0.025] * (16 - back_at + 1)
    assert not zoo.same(rates.weights[back_at], rates.weights[back_at - 1])
    assert trainer.history[-1]["nonfinite"] == 1


def test_rollback_restores_the_optimizer():
    """After a rollback, a step on the batch that followed the validation gives the same weights, moments included."""
    train, val = batches(), zoo.loaders()[1]
    rates = Rates()
    again = [*train[:4], train[4], train[3], train[5]]  # 3 steps, a validation, 1 step, a bad one, and the fourth again
    run(again, at=[5], callbacks=[NonFiniteGuard("rollback", factor=1.0), rates], val=val, val_every=3)
    torch.testing.assert_close(rates.weights[6], rates.weights[4], rtol=1e-5, atol=1e-7)
    assert not zoo.same(rates.weights[5], rates.weights[4])


def test_rollback_lowers_the_following_rates_of_a_schedule():
    """A closed-form schedule continues from the lower rate."""
    rates = Rates()
    options = {"scheduler_fn": torch.optim.lr_scheduler.LambdaLR, "scheduler_params": {"lr_lambda": lambda t: 1 / (t + 1)}}
    run(batches(), at=[2], callbacks=[NonFiniteGuard("rollback"), rates], scheduler_interval="step", **options)
    assert rates.rates == pytest.approx([0.05, 0.025, *(0.025 / (t + 1) for t in range(2, 8))])


@pytest.mark.parametrize("late", [False, True])
def test_the_guard_writes_the_bad_batch(late, tmp_path):
    """The file holds the columns and labels of the batch by name, and at most n_file files are written."""
    train = batches()
    run(train, at=[2, 6, 8], callbacks=[NonFiniteGuard(late=late, n_file=2)], model_path=tmp_path)
    files = sorted(path.name for path in (tmp_path / "nonfinite").iterdir())
    assert files == ["step-00000002.safetensors", "step-00000006.safetensors"]
    written, (x, y) = load_file(tmp_path / "nonfinite" / files[1]), train[5]
    assert written.keys() == {"y", *(f"x.{name}" for name in x)}
    assert torch.equal(written["y"], y)
    assert all(torch.equal(written[f"x.{name}"], x[name]) for name in x)


def test_the_guard_writes_all_batches_of_an_accumulated_step(tmp_path):
    """One bad batch makes its whole group of batches be skipped and written."""
    train = batches()
    trainer = run(train, at=[3], callbacks=[NonFiniteGuard()], model_path=tmp_path, accumulate=2)
    written = load_file(tmp_path / "nonfinite" / "step-00000002.safetensors")
    assert torch.equal(written["0.y"], train[2][1])
    assert torch.equal(written["1.y"], train[3][1])
    assert all(weight.isfinite().all() for weight in trainer.model.state_dict().values())
    other = run(train[:2] + train[4:], accumulate=2)
    torch.testing.assert_close(trainer.model.state_dict(), other.model.state_dict(), rtol=1e-4, atol=1e-6)


def test_a_run_continues_where_the_guard_cannot_write(tmp_path, caplog):
    """The run continues, and the log names the step whose batch was not written."""
    (tmp_path / "nonfinite").write_text("in the way")
    trainer = run(batches(), at=[2], callbacks=[NonFiniteGuard()], model_path=tmp_path)
    assert trainer.state.step == 8
    assert "the batch of step 2 was not written" in caplog.text


@pytest.mark.parametrize("options", [{"action": "pray"}, {"factor": 0.0}, {"factor": 2.0}, {"limit": 0}, {"n_file": -1}])
def test_the_guard_refuses_bad_arguments(options):
    """Invalid arguments are errors at construction."""
    with pytest.raises(ValueError, match="NonFiniteGuard"):
        NonFiniteGuard(**options)


def test_a_bad_first_step_leaves_no_nan_in_the_recorded_loss():
    """The recorded mean loss is finite where the first step of a run, or of an epoch, is bad."""
    calls = []

    def criterion(prediction, y):
        calls.append(1)
        return (prediction - y).square().mean() * (math.inf if len(calls) in {1, 5} else 1.0)  # 4 steps an epoch

    trainer = zoo.trainer(callbacks=[NonFiniteGuard()], n_epoch=2)
    trainer.criterion = criterion
    history = trainer.fit(*zoo.loaders())
    assert history["nonfinite"] == [1, 2]
    assert all(math.isfinite(loss) for loss in history["loss"])
