"""LearningRate: warm-up, then_stop, and schedules of parts, each against plain Python."""

from __future__ import annotations

import math

import pytest
import torch
import zoo
from torch import nn
from torch.optim import lr_scheduler

from torch_rechub.basic.callback import Callback, LearningRate
from torch_rechub.basic.callback.schedules import WarmUp


class Rates(Callback):
    """Records the rates of each optimizer step, by group."""

    part_of_run = False

    def __init__(self, then=None):
        self.rates, self.then = [], then

    def on_backward_end(self, trainer):
        self.rates.append([group["lr"] for group in trainer.optimizer.param_groups])

    def on_batch_end(self, trainer):
        if trainer.state.step == self.then:
            trainer.request_pause("here")


def run(schedule, values=None, val=True, n_epoch=4, **options):
    rates = Rates()
    trainer = zoo.trainer(callbacks=[schedule, rates], n_epoch=n_epoch, earlystop_patience=None, **options)
    if values is not None:
        trainer.evaluate_fn = zoo.Scripted(values)
    train, validation = zoo.loaders()
    trainer.fit(train, validation if val else None)
    return [one[0] for one in rates.rates], trainer


@pytest.mark.parametrize("warmup", [6, "6 steps", "1.5 epochs"])
@pytest.mark.parametrize("start", [0.0, 0.1, 1.0])
def test_warm_up_is_linear_and_the_schedule_follows(warmup, start):
    """The rate rises over six steps to the full rate, and the scheduler counts its steps from there."""
    schedule = LearningRate(lr_scheduler.ExponentialLR, {"gamma": 0.9}, interval="step", warmup=warmup, warmup_start=start)
    rates, _ = run(schedule)
    expected = [0.05 * (start + (1 - start) * s / 6) for s in range(6)] + [0.05 * 0.9**s for s in range(10)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(("warmup", "first"), [(0, 1), (3, 1), ("1 epoch", 2), (5, 2), ("2 epochs", 3)])
@pytest.mark.parametrize("val", [True, False])
def test_a_schedule_by_epoch_waits_for_steps_at_the_full_rate(warmup, first, val):
    """The scheduler steps first at the end of the first epoch with a step at the full rate."""
    rates, _ = run(LearningRate(lr_scheduler.StepLR, {"step_size": 1, "gamma": 0.5}, warmup=warmup), val=val)
    expected = [0.05 * 0.5 ** max(0, epoch - first + 1) for epoch in range(4)]
    assert [rates[4 * epoch + 3] for epoch in range(first, 4)] == pytest.approx(expected[first:])


def test_one_cycle_ends_with_the_run_after_a_warm_up():
    """OneCycleLR ends with the run, with or without a warm-up."""
    rates, trainer = run(LearningRate(lr_scheduler.OneCycleLR, {"max_lr": 0.1}, warmup=4, warmup_start=0.5))
    assert trainer.scheduler.total_steps == 12
    assert rates[:5] == pytest.approx([0.004 * (0.5 + 0.5 * s / 4) for s in range(5)])
    assert rates[-1] == min(rates)


def test_a_plateau_ignores_validations_of_the_warm_up():
    """Validations before the first step at the full rate do not count for the plateau."""
    schedule = LearningRate(lr_scheduler.ReduceLROnPlateau, {"factor": 0.1, "patience": 0}, warmup="2 epochs")
    rates, _ = run(schedule, [0.9, 0.8, 0.5, 0.4])
    assert rates[12:] == [0.05] * 4  # 0.5 was the first value that it received
    assert run(schedule, [0.9, 0.8, 0.5, 0.4, 0.3], n_epoch=5)[0][16] == pytest.approx(0.005)


def test_warm_up_without_a_scheduler_ends_in_a_constant_rate():
    """Without a scheduler the rate stays constant after the warm-up."""
    rates, _ = run(LearningRate(warmup=4, warmup_start=0.5))
    assert rates == pytest.approx([0.025, 0.03125, 0.0375, 0.04375, *[0.05] * 12])


@pytest.mark.parametrize("warmup", ["soon", "1.5 steps", -1, True, "-1 epoch", 2.5])
def test_warm_up_refuses_bad_arguments(warmup):
    """A length must be in steps or epochs, and the start a fraction of the rate."""
    with pytest.raises(ValueError, match="warmup"):
        LearningRate(warmup=warmup)
    with pytest.raises(ValueError, match="warmup_start"):
        LearningRate(warmup=3, warmup_start=1.5)


def test_warm_up_by_epochs_needs_a_loader_of_known_length():
    """A warm-up in epochs with a loader without a length is an error before the first step."""
    train = zoo.loaders()[0]
    trainer = zoo.trainer(callbacks=[LearningRate(warmup="1 epoch")])
    with pytest.raises(ValueError, match="Give steps"):
        trainer.fit(iter_only(train))
    assert WarmUp(3).factor(0) == 0.1


def iter_only(loader):
    class Walk:
        def __iter__(self):
            return iter(loader)

    return Walk()


def plateaus(values, patience, cooldown):
    """Validations (counted from 0) at which a maximised metric is on a plateau, by torch's rules in plain Python (threshold 0)."""
    best, bad, waiting, plateau_indices = -math.inf, 0, 0, []
    for i, value in enumerate(values):
        bad = 0 if value > best else bad + 1
        best = max(best, value)
        if waiting > 0:
            waiting, bad = waiting - 1, 0
        if bad > patience:
            plateau_indices.append(i)
            waiting, bad = cooldown, 0
    return plateau_indices


@pytest.mark.parametrize("patience", [0, 1])
@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("then_stop", [1, 2])
@pytest.mark.parametrize("min_lr", [0.0, 0.05])
def test_then_stop_ends_the_run_at_the_plateau_after_the_last_reduction(patience, cooldown, then_stop, min_lr):
    """The run ends at plateau number then_stop + 1, also where min_lr keeps the rate constant."""
    values = [0.5, 0.6, 0.6, 0.7, 0.6, 0.6, 0.6, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    params = {"factor": 0.1, "patience": patience, "cooldown": cooldown, "threshold": 0.0, "min_lr": min_lr}
    schedule = LearningRate(lr_scheduler.ReduceLROnPlateau, params, then_stop=then_stop)
    _, trainer = run(schedule, values, n_epoch=len(values))
    assert len(trainer.history) == plateaus(values, patience, cooldown)[then_stop] + 1
    assert trainer.history.stop_reason == f"no improvement after the learning rate was lowered {then_stop} times"


def test_a_plateau_may_monitor_another_metric():
    """monitor= names the metric, and the metric gives the direction."""
    schedule = LearningRate(lr_scheduler.ReduceLROnPlateau, {"factor": 0.5, "patience": 0, "threshold": 0.0}, monitor="logloss")
    _, trainer = run(schedule, n_epoch=8, optimizer_params={"lr": 0.3})
    losses, rates = trainer.history["logloss"], trainer.history["lr"]
    expected = [0.3]
    for i, loss in enumerate(losses[:-1]):
        expected.append(expected[-1] * (1 if loss < min(losses[:i], default=math.inf) else 0.5))
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("make", [lambda n: LearningRate(lr_scheduler.StepLR, then_stop=n), lambda n: LearningRate(then_stop=n)])
def test_then_stop_is_refused_for_other_schedules(make):
    """then_stop with another scheduler than ReduceLROnPlateau is an error."""
    for n in (0, 1, True):
        with pytest.raises(ValueError, match="then_stop"):
            make(n)
    with pytest.raises(ValueError, match="then_stop"):
        LearningRate(lr_scheduler.ReduceLROnPlateau, then_stop=0)


PARTS = {
    "embedding": (lr_scheduler.ExponentialLR, {"gamma": 0.5}),
    "dense": (lr_scheduler.OneCycleLR, {"max_lr": 0.1}),
}


def test_embeddings_and_dense_weights_follow_their_own_schedules():
    """Each group's rates equal those of its scheduler over a separate optimizer, and the records hold both."""
    rates, schedule = Rates(), LearningRate(PARTS)
    trainer = zoo.trainer(callbacks=[schedule, rates], n_epoch=4)
    trainer.fit(*zoo.loaders())
    plain = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    cycle = lr_scheduler.OneCycleLR(plain, max_lr=0.1, total_steps=16, cycle_momentum=False)
    for step, (embedding, dense) in enumerate(rates.rates):
        assert embedding == pytest.approx(0.05 * 0.5 ** (step // 4))
        assert dense == pytest.approx(plain.param_groups[0]["lr"])
        plain.step()
        cycle.step() if step < 15 else None
    assert trainer.history["lr_embedding"] == pytest.approx([0.05, 0.025, 0.0125, 0.00625])
    names = [group["name"] for group in trainer.optimizer.param_groups]
    assert names == ["embedding", "dense"]
    tables = {id(table.weight) for table in trainer.model.embedding.tables.values()}
    assert {id(weight) for weight in trainer.optimizer.param_groups[0]["params"]} == tables


def test_equal_schedules_of_parts_equal_one_schedule():
    """The same schedule for both parts trains to the same bits as one for all."""
    same = (lr_scheduler.ExponentialLR, {"gamma": 0.5})
    _, one = run(LearningRate(*same))
    _, two = run(LearningRate({"embedding": same, "dense": same}))
    assert zoo.same(one.model.state_dict(), two.model.state_dict())


def test_a_part_without_a_schedule_keeps_its_rate():
    """Only the parts that are named are scheduled, and scheduler_fn of the trainer accepts a dict as well."""
    rates = Rates()
    trainer = zoo.trainer(callbacks=[rates], scheduler_fn={"dense": lambda optimizer: lr_scheduler.StepLR(optimizer, 1)})
    trainer.fit(zoo.loaders()[0])
    assert {one[0] for one in rates.rates} == {0.05}
    assert rates.rates[-1][1] == pytest.approx(0.0005)


def test_unknown_parts_are_refused():
    """An unknown name, and embeddings of a model without any, are errors at construction."""
    with pytest.raises(ValueError, match="'embedding' and 'dense'"):
        LearningRate({"tower": PARTS["dense"]})
    with pytest.raises(ValueError, match="must have parameters called 'embedding'"):
        zoo.trainer(nn.Linear(2, 1), callbacks=[LearningRate({"embedding": PARTS["embedding"]})])


SCHEDULES = {
    "warm-up": lambda: LearningRate(lr_scheduler.ExponentialLR, {"gamma": 0.9}, interval="step", warmup=6),
    "warm-up by epoch": lambda: LearningRate(lr_scheduler.StepLR, {"step_size": 1}, warmup="1 epoch"),
    "warm-up and cycle": lambda: LearningRate(lr_scheduler.OneCycleLR, {"max_lr": 0.1}, warmup=5),
    "parts": lambda: LearningRate(PARTS, warmup=5),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("step", [2, 5, 6, 9])
def test_a_paused_schedule_resumes_with_the_same_rates(name, step, tmp_path):
    """Paused within the warm-up or after it and resumed, the rates equal those of an uninterrupted run."""
    uninterrupted, parts = Rates(), []
    zoo.trainer(callbacks=[SCHEDULES[name](), uninterrupted], n_epoch=3).fit(zoo.loaders()[0])
    for then in (step, None):
        rates = Rates(then)
        zoo.trainer(callbacks=[SCHEDULES[name](), rates], n_epoch=3, model_path=tmp_path).fit(zoo.loaders()[0], resume="auto")
        parts += rates.rates
    assert parts == uninterrupted.rates
