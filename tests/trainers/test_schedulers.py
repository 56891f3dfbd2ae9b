"""Every scheduler of torch steps at the right moments."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
import zoo
from torch.optim import lr_scheduler

from torch_rechub.basic.callback import Callback, LearningRate

N_STEP, N_EPOCH = 4, 3  # optimizer steps an epoch, epochs
LR = 0.05


def sequential(optimizer):
    parts = [lr_scheduler.ConstantLR(optimizer, 0.5, 2), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[1])


def chained(optimizer):
    return lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(optimizer, 0.5, 2), lr_scheduler.ExponentialLR(optimizer, 0.5)])


#: class -> (scheduler_fn, scheduler_params, when it steps by default)
RECIPES = {
    "LambdaLR": (lr_scheduler.LambdaLR, {"lr_lambda": lambda epoch: 0.5**epoch}, "epoch"),
    "MultiplicativeLR": (lr_scheduler.MultiplicativeLR, {"lr_lambda": lambda epoch: 0.5}, "epoch"),
    "StepLR": (lr_scheduler.StepLR, {"step_size": 1}, "epoch"),
    "MultiStepLR": (lr_scheduler.MultiStepLR, {"milestones": [1, 3]}, "epoch"),
    "ConstantLR": (lr_scheduler.ConstantLR, {"factor": 0.5, "total_iters": 2}, "epoch"),
    "LinearLR": (lr_scheduler.LinearLR, {"start_factor": 0.5, "total_iters": 2}, "epoch"),
    "ExponentialLR": (lr_scheduler.ExponentialLR, {"gamma": 0.5}, "epoch"),
    "PolynomialLR": (lr_scheduler.PolynomialLR, {"total_iters": 4}, "epoch"),
    "CosineAnnealingLR": (lr_scheduler.CosineAnnealingLR, {"T_max": 4}, "epoch"),
    "CosineAnnealingWarmRestarts": (lr_scheduler.CosineAnnealingWarmRestarts, {"T_0": 2}, "epoch"),
    "SequentialLR": (sequential, None, "epoch"),
    "ChainedScheduler": (chained, None, "epoch"),
    "CyclicLR": (lr_scheduler.CyclicLR, {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "cycle_momentum": False}, "step"),
    "OneCycleLR": (lr_scheduler.OneCycleLR, {"max_lr": 0.1}, "step"),
    "ReduceLROnPlateau": (lr_scheduler.ReduceLROnPlateau, {"factor": 0.5, "patience": 0}, "validation"),
}


def all_schedulers():
    bases = {"LRScheduler", "_LRScheduler"}
    schedulers = {
        name: kind
        for name, kind in vars(lr_scheduler).items()
        if inspect.isclass(kind) and issubclass(kind, lr_scheduler.LRScheduler) and name not in bases
    }
    return sorted(schedulers)


class Rates(Callback):
    """Records the rate of each step, and the rate after the run."""

    def __init__(self):
        self.rates = []

    def on_backward_end(self, trainer):
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])


def run(values=None, *, loaders=None, n_epoch=N_EPOCH, **options):
    rates = Rates()
    trainer = zoo.trainer(zoo.plain_model(), n_epoch=n_epoch, optimizer_params={"lr": LR}, callbacks=[rates], **options)
    if values is not None:
        trainer.evaluate_fn = zoo.Scripted(values)
    trainer.fit(*(zoo.loaders() if loaders is None else loaders))
    return [*rates.rates, trainer.optimizer.param_groups[0]["lr"]], trainer


def by_hand(scheduler_fn, params, moments, values=None):
    """The same scheduler on a separate optimizer, stepped after the steps (counted from 1) in ``moments``."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], lr=LR)
    scheduler = scheduler_fn(optimizer, **params)
    rates = []
    for step in range(1, N_STEP * N_EPOCH + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        weight.grad = torch.ones(1)
        optimizer.step()
        if step in moments:
            scheduler.step(*([] if values is None else [values[moments.index(step)]]))
    return [*rates, optimizer.param_groups[0]["lr"]]


def test_every_scheduler_of_torch_has_a_recipe():
    """Every scheduler of torch has a recipe in this file."""
    assert sorted(RECIPES) == all_schedulers()


@pytest.mark.parametrize("name", RECIPES)
def test_a_scheduler_steps_as_by_hand(name):
    """The rate of every optimizer step is that of the same scheduler stepped by hand at the right moments."""
    scheduler_fn, params, interval = RECIPES[name]
    values = [0.7, 0.6, 0.5] if interval == "validation" else None
    rates, trainer = run(values, scheduler_fn=scheduler_fn, scheduler_params=params)
    moments = list(range(1, 13)) if interval == "step" else [4, 8, 12]
    params = dict(params or {})
    if name == "OneCycleLR":
        params["total_steps"] = N_STEP * N_EPOCH
    if name == "ReduceLROnPlateau":
        params["mode"] = "max"
    assert rates == by_hand(scheduler_fn, params, moments, values)
    assert len(set(rates)) > 1
    assert trainer.history["lr"] == (rates[4::4] if interval == "step" else rates[3::4][:3])  # the rate at each record


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"ReduceLROnPlateau"}))
@pytest.mark.parametrize("interval", ["step", "validation", "epoch"])
def test_scheduler_interval_overrides_the_default(name, interval):
    """Any scheduler steps by step, by validation or by epoch as requested, and OneCycleLR gets the number of its steps."""
    scheduler_fn, params, _ = RECIPES[name]
    params = dict(params or {})
    if name == "OneCycleLR" and interval == "validation":
        params["total_steps"] = 6
    rates, _ = run(scheduler_fn=scheduler_fn, scheduler_params=params, scheduler_interval=interval, val_every=2)
    if name == "OneCycleLR":
        params["total_steps"] = {"step": 12, "validation": 6, "epoch": 3}[interval]
    moments = {"step": list(range(1, 13)), "validation": [2, 4, 6, 8, 10, 12], "epoch": [4, 8, 12]}[interval]
    assert rates == by_hand(scheduler_fn, params, moments)


def test_scheduler_interval_check_is_validation():
    """The older name "check" is an alias of "validation"."""
    options = {"scheduler_fn": lr_scheduler.ExponentialLR, "scheduler_params": {"gamma": 0.5}, "val_every": 2}
    assert run(scheduler_interval="check", **options)[0] == run(scheduler_interval="validation", **options)[0]


@pytest.mark.parametrize(
    ("monitor", "values", "lowered"),
    [
        ("metric", [0.5, 0.6, 0.7], [False] * 3),
        ("metric", [0.5, 0.5, 0.4], [False, True, True]),
        ("metric", [0.5, math.nan, 0.6], [False, True, False]),
    ],
)
def test_a_plateau_has_the_direction_of_the_monitor(monitor, values, lowered):
    """A metric that is maximised lowers the rate where it does not rise, unlike torch's default."""
    rates, trainer = run(values, scheduler_fn=lr_scheduler.ReduceLROnPlateau, scheduler_params={"factor": 0.5, "patience": 0})
    expected = [LR]
    for low in lowered:
        expected.append(expected[-1] * (0.5 if low else 1))
    assert [*trainer.history["lr"], rates[-1]] == expected


@pytest.mark.parametrize(
    ("mode", "values", "last"), [("min", [0.5, 0.4, 0.3], LR), ("min", [0.5, 0.6, 0.7], LR / 4), (None, [0.5, 0.6, 0.7], LR)]
)
def test_a_plateau_follows_an_evaluate_fn_assigned_later(mode, values, last):
    """The direction is that of a function assigned after construction, also where another metric decided before."""
    options = {"scheduler_fn": lr_scheduler.ReduceLROnPlateau, "scheduler_params": {"factor": 0.5, "patience": 0}, "mode": mode}
    assert run(values, **options)[0][-1] == last
    assert run(values, **options, metrics=["logloss"])[0][-1] == last


def test_a_plateau_steps_at_every_validation():
    """With val_every the plateau scheduler steps at every validation of an epoch."""
    rates, trainer = run(
        [0.5] * 6, scheduler_fn=lr_scheduler.ReduceLROnPlateau, scheduler_params={"factor": 0.5, "patience": 1}, val_every=2
    )
    assert trainer.history["lr"] == [LR, LR, LR, LR / 2, LR / 2, LR / 4]
    assert rates[-1] == LR / 4


@pytest.mark.parametrize("metric", ["auc", "logloss"])
def test_a_contrary_plateau_is_an_error(metric):
    """An explicit mode against the monitored metric's direction is refused at construction."""
    wrong = "min" if metric == "auc" else "max"
    for scheduler_fn in (lr_scheduler.ReduceLROnPlateau, lambda optimizer, mode: lr_scheduler.ReduceLROnPlateau(optimizer, mode)):
        with pytest.raises(ValueError, match=f"mode='{wrong}' contradicts the monitored metric"):
            zoo.trainer(metrics=[metric], scheduler_fn=scheduler_fn, scheduler_params={"mode": wrong})


def test_a_plateau_may_monitor_another_metric():
    """A LearningRate of the user has its own monitor, with the direction of that metric."""
    schedule = LearningRate(lr_scheduler.ReduceLROnPlateau, {"patience": 0}, monitor="logloss")
    trainer = zoo.trainer(callbacks=[schedule])
    assert trainer.scheduler.mode == "min"
    trainer.fit(*zoo.loaders())
    assert trainer.scheduler.best == min(trainer.history["logloss"])
    with pytest.raises(ValueError, match="monitor='nothing' is not measured"):
        zoo.trainer(callbacks=[LearningRate(lr_scheduler.ReduceLROnPlateau, monitor="nothing")])


def test_a_plateau_needs_validations():
    """A plateau scheduler without a validation loader, or by optimizer step, is an error before the first step."""
    plateau = {"scheduler_fn": lr_scheduler.ReduceLROnPlateau}
    trainer = zoo.trainer(**plateau)
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(ValueError, match="give fit a validation loader"):
        trainer.fit(zoo.loaders()[0])
    assert zoo.same(trainer.model.state_dict(), before)
    with pytest.raises(ValueError, match="must be 'validation' or 'epoch'"):
        zoo.trainer(**plateau, scheduler_interval="step")


@pytest.mark.parametrize(("n", "accumulate", "total"), [(64, 1, 12), (64, 3, 6), (72, 2, 9), (33, 1, 9)])
def test_one_cycle_ends_with_the_run(n, accumulate, total):
    """total_steps counts optimizer steps, smaller last groups and batches included, and the cycle ends with the run."""
    rates, trainer = run(
        loaders=zoo.loaders(n), scheduler_fn=lr_scheduler.OneCycleLR, scheduler_params={"max_lr": 0.1}, accumulate=accumulate
    )
    assert trainer.scheduler.total_steps == trainer.state.step == trainer.total_steps == total
    assert min(rates) == rates[-2] == pytest.approx(0.1 / 25 / 1e4)


def test_one_cycle_of_the_users_own_length():
    """A cycle longer than the run is allowed; one that would end within it is an error before the first step."""
    fine = {"epochs": 3, "steps_per_epoch": 4}
    assert run(scheduler_fn=lr_scheduler.OneCycleLR, scheduler_params={"max_lr": 0.1, **fine})[1].state.step == 12
    assert run(scheduler_fn=lr_scheduler.OneCycleLR, scheduler_params={"max_lr": 0.1, "total_steps": 50})[1].state.step == 12
    with pytest.raises(ValueError, match="total_steps must be >= 12, the steps of this run; got 11"):
        run(scheduler_fn=lr_scheduler.OneCycleLR, scheduler_params={"max_lr": 0.1, "total_steps": 11})


@pytest.mark.parametrize("interval", [None, "validation"])
def test_one_cycle_of_unknown_length_is_an_error(interval):
    """With a loader without a length, or by validation, OneCycleLR needs total_steps, and works with it."""
    options = {"scheduler_fn": lr_scheduler.OneCycleLR, "scheduler_interval": interval}
    train, val = zoo.loaders()
    loader = train if interval else iter(list(train))
    trainer = zoo.trainer(scheduler_params={"max_lr": 0.1}, **options)
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(ValueError, match="Give total_steps in scheduler_params"):
        trainer.fit(loader, val)
    assert zoo.same(trainer.model.state_dict(), before)
    given = zoo.trainer(scheduler_params={"max_lr": 0.1, "total_steps": 4}, n_epoch=1, **options)
    assert len(given.fit(iter(list(train)), val)) == 1


def test_lower_the_rate_first_and_stop_later():
    """A plateau of patience 1 with a stopper of patience 4 lowers the rate twice before the stop, as documented."""
    options = {"scheduler_fn": lr_scheduler.ReduceLROnPlateau, "scheduler_params": {"factor": 0.1, "patience": 1}}
    values = [0.7, 0.6, 0.6, 0.6, 0.6, 0.9]
    _, trainer = run(values, n_epoch=9, earlystop_patience=4, **options)
    assert trainer.history["lr"] == pytest.approx([LR, LR, LR, LR / 10, LR / 10])
    assert trainer.history["metric"] == [0.7, 0.6, 0.6, 0.6, 0.6]
    assert trainer.early_stopper.best_auc == 0.7


def test_the_schedule_state_round_trips():
    """A scheduler with the loaded state of another one gives the same rates from there."""
    _, trainer = run(scheduler_fn=lr_scheduler.CosineAnnealingLR, scheduler_params={"T_max": 7})
    state = trainer.callback(LearningRate).state_dict()
    _, other = run(n_epoch=1, scheduler_fn=lr_scheduler.CosineAnnealingLR, scheduler_params={"T_max": 7})
    other.callback(LearningRate).load_state_dict(state)
    assert other.scheduler.state_dict() == trainer.scheduler.state_dict()
    assert LearningRate(lr_scheduler.StepLR).state_dict() == {}
