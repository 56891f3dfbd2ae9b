"""The identity of a run: a changed setting is refused by its name, whatever it is a setting of; what may differ is declared."""

from __future__ import annotations

import functools
import inspect
import shutil

import numpy as np
import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe
from torch import nn
from torch.optim import lr_scheduler

from torch_rechub.basic import callback as callbacks
from torch_rechub.basic.callback import EMA, SWA, Callback, EarlyStopper, GradientClip, LearningRate, NonFiniteGuard, ReinitEmbeddings
from torch_rechub.basic.metric import GAUC
from torch_rechub.engine.identity.values import plain_value


def sized_sgd(rate, factor):
    return lambda parameters, **options: torch.optim.SGD([{"params": list(parameters), "lr": rate * factor}], **{**options, "lr": 1.0})


def decayed(factor):
    return lambda step: factor**step


def squared_error():
    def score(y_true, y_pred):
        return -float(((y_true - y_pred) ** 2).mean())

    return score


def absolute_error():
    def score(y_true, y_pred):
        return -float(abs(y_true - y_pred).mean())

    return score


class Own(nn.Module):
    """A model of the user's own, with plain attributes that its forward reads."""

    def __init__(self, temperature=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.temperature = temperature
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x["age"].float()[:, None])[:, 0] * self.temperature)


def changed_forward():
    class Own2(Own):
        def forward(self, x):
            return torch.sigmoid(self.linear(x["age"].float()[:, None])[:, 0] * self.temperature + 0.1)

    Own2.__name__ = "Own"
    return Own2()


def frozen():
    model = zoo.model()
    model.mlp.requires_grad_(False)
    return model


class Decays(Callback):
    """A callback of the user's own with an argument."""

    def __init__(self, by=0.9, names=("lr",)):
        self.by, self.names = by, names

    def on_epoch_end(self, trainer):
        trainer.scale_rate(self.by)


LAMBDA = {"scheduler_fn": lr_scheduler.LambdaLR}
#: a setting -> the options of the saved run, of the run that resumes it, and what the error names
CHANGED = {
    "rates of optimizer_fn": (
        {"optimizer_fn": sized_sgd(0.1, 0.5)},
        {"optimizer_fn": sized_sgd(0.1, 0.2)},
        "lr of the optimizer was 0.05 and is 0.02",
    ),
    "lambda's code": (
        {**LAMBDA, "scheduler_params": {"lr_lambda": lambda step: 0.9**step}},
        {**LAMBDA, "scheduler_params": {"lr_lambda": lambda step: 0.8**step}},
        "the code of lr_lambda of scheduler_params of LearningRate was changed",
    ),
    "lambda's closure": (
        {**LAMBDA, "scheduler_params": {"lr_lambda": decayed(0.9)}},
        {**LAMBDA, "scheduler_params": {"lr_lambda": decayed(0.8)}},
        "factor of closure of lr_lambda of scheduler_params of LearningRate was 0.9 and is 0.8",
    ),
    "warm-up": (
        {"callbacks": lambda: [LearningRate(lr_scheduler.ExponentialLR, {"gamma": 0.5}, warmup=2)]},
        {"callbacks": lambda: [LearningRate(lr_scheduler.ExponentialLR, {"gamma": 0.5}, warmup=3)]},
        "warmup of LearningRate was 2 and is 3",
    ),
    "EMA decay": ({"callbacks": lambda: [EMA(0.9)]}, {"callbacks": lambda: [EMA(0.99)]}, "decay of EMA was 0.9 and is 0.99"),
    "SWA start": ({"callbacks": lambda: [SWA(1)]}, {"callbacks": lambda: [SWA(0)]}, "start_epoch of SWA was 1 and is 0"),
    "clip": (
        {"callbacks": lambda: [GradientClip(1.0)]},
        {"callbacks": lambda: [GradientClip(2.0)]},
        "max_norm of GradientClip was 1.0 and is 2.0",
    ),
    "guard": (
        {"callbacks": lambda: [NonFiniteGuard("skip")]},
        {"callbacks": lambda: [NonFiniteGuard("stop")]},
        "action of NonFiniteGuard was 'skip' and is 'stop'",
    ),
    "min_delta": (
        {"callbacks": lambda: [EarlyStopper(3)]},
        {"callbacks": lambda: [EarlyStopper(3, min_delta=0.1)]},
        "min_delta of EarlyStopper was 0.0 and is 0.1",
    ),
    "stopper's monitor": (
        {"callbacks": lambda: [EarlyStopper(3, monitor="auc")]},
        {"callbacks": lambda: [EarlyStopper(3, monitor="logloss")]},
        "mode of EarlyStopper was 'max' and is 'min'; monitor of EarlyStopper was 'auc' and is 'logloss'",
    ),
    "reinit": (
        {"callbacks": lambda: [ReinitEmbeddings()]},
        {"callbacks": lambda: [ReinitEmbeddings(False)]},
        "reset_optimizer of ReinitEmbeddings was True and is False",
    ),
    "group of GAUC": (
        {"metrics": [GAUC(group="user"), "auc"]},
        {"metrics": [GAUC(group="item"), "auc"]},
        "group of metric gauc was 'user' and is 'item'",
    ),
    "frozen parameters": ({}, {"make": frozen}, "training of mlp.mlp.0.weight was 'trained' and is 'frozen'"),
    "dtype": ({}, {"make": lambda: zoo.model().double()}, "dtype of .* was 'torch.float32' and is 'torch.float64'"),
    "forward": ({"make": Own}, {"make": changed_forward}, "the code of forward of Own was changed"),
    "attribute of a model": ({"make": Own}, {"make": lambda: Own(2.0)}, "temperature of Own was 1.0 and is 2.0"),
    "argument of a user's callback": (
        {"callbacks": lambda: [Decays()]},
        {"callbacks": lambda: [Decays(names=("lr", "decay"))]},
        r"names of Decays was \['lr'\] and is \['lr', 'decay'\]",
    ),
}


def started(folder, options):
    """A run that was interrupted within its fourth step."""
    with pytest.raises(Interrupted):
        Recipe(**options).start(folder, None, InterruptAt(3))
    return folder


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_setting_is_refused_by_its_name(name, tmp_path):
    """The run resumes with equal settings, and the error names a changed one with both values."""
    before, after, message = CHANGED[name]
    started(tmp_path / "run", before)
    shutil.copytree(tmp_path / "run", tmp_path / "same")
    with pytest.raises(ValueError, match=message):
        Recipe(**after).start(tmp_path / "run", "auto")
    assert Recipe(**before).start(tmp_path / "same", "auto").state.step == 8


@pytest.mark.parametrize(("before", "after", "name"), [(squared_error, absolute_error, "score")])
def test_another_evaluate_fn_of_the_same_name_is_refused(before, after, name, tmp_path):
    """A function is compared by its code, not by its name; comments, docstrings and line breaks do not count."""

    def start(make, resume):
        trainer = zoo.trainer(n_epoch=1, model_path=tmp_path)
        trainer.evaluate_fn = make()
        return trainer.fit(*zoo.loaders(), resume=resume)

    def reformatted():
        def score(y_true, y_pred):
            """Another docstring."""
            # another comment
            return -float(((y_true - y_pred) ** 2).mean())

        return score

    start(before, "auto")
    start(reformatted, "auto")
    with pytest.raises(ValueError, match=f"the code of fn of metric {name} was changed"):
        start(after, "auto")


#: Another value for each argument of each callback that a run's outcome depends on.
OTHER = {
    **{"patience": 7, "mode": "max", "min_delta": 0.25, "monitor": "auc", "start_from": 1, "baseline": 0.1, "target": 0.99},
    **{"divergence": 0.01, "alpha": 0.01, "groups": "user", "decay": 0.5, "start_epoch": 2, "max_norm": 3.0, "max_value": 4.0},
    **{"action": "stop", "factor": 0.25, "limit": 100, "n_file": 3, "late": True, "reset_optimizer": False, "margin": 1.0, "total": True},
    **{"scheduler_fn": lr_scheduler.StepLR, "scheduler_params": {"gamma": 0.7}, "interval": "step", "warmup": 5, "warmup_start": 0.5},
    **{"every_n_steps": 3, "every_minutes": 9.0, "keep_best": 2, "keep_last": 2, "safetensors": True, "background": True},
}
#: Arguments of a valid instance, and arguments that only go with others.
FIRST = {"EarlyStopper": {"patience": 3}, "SWA": {"start_epoch": 1}, "GradientClip": {"max_norm": 1.0}, "TimeLimit": {"limit": 90}}
FIRST |= {"LearningRate": {"scheduler_fn": lr_scheduler.ExponentialLR, "scheduler_params": {"gamma": 0.5}}}
TOGETHER = {"alpha": {"min_delta": "significant"}, "groups": {"min_delta": "significant"}}
PLATEAU = {"scheduler_fn": lr_scheduler.ReduceLROnPlateau, "scheduler_params": {}}


def every_argument():
    for name in callbacks.__all__:
        kind = getattr(callbacks, name)
        if kind is not Callback and kind.part_of_run:
            for argument in list(inspect.signature(kind.__init__).parameters)[1:]:
                yield pytest.param(kind, argument, id=f"{name}.{argument}")


@pytest.mark.parametrize(("kind", "argument"), list(every_argument()))
def test_every_argument_of_every_callback_is_compared_or_declared_free(kind, argument):
    """Another value of any argument changes the settings, under a name that is refused or declared free."""
    first = FIRST.get(kind.__name__, {}) | TOGETHER.get(argument, {})
    if argument == "then_stop":
        first, other = PLATEAU, {"then_stop": 1}
    else:
        other = {argument: OTHER[argument]} | ({"scheduler_params": {"step_size": 3}} if argument == "scheduler_fn" else {})
    trainer = zoo.trainer(metrics=["auc", "logloss"], monitor="auc")
    if argument == "mode":  # it must be that of the metric; of a function either
        trainer.evaluate_fn, other = zoo.Scripted([0.5]), {"mode": "min"}
    before, after = (plain_value(kind(**options).settings(trainer)) for options in (first, first | other))
    assert [name for name in after if before.get(name) != after[name]] == [argument, *(n for n in other if n != argument)]
    assert kind.free_settings <= set(after)


def test_settings_are_those_that_hold(tmp_path):
    """An argument that was assigned later counts, in the trainer's own stopper as well; a rate set by hand, too."""
    trainer = zoo.trainer(n_epoch=1, model_path=tmp_path)
    trainer.early_stopper.start_from = 2
    trainer.optimizer.param_groups[0]["lr"] = 0.5
    trainer.fit(*zoo.loaders(), resume="auto")
    with pytest.raises(ValueError, match=r"lr of the optimizer was 0\.5 and is 0\.05.*start_from of EarlyStopper was 2 and is 0"):
        zoo.trainer(n_epoch=1, model_path=tmp_path).fit(*zoo.loaders(), resume="auto")


def test_equal_settings_of_other_types_are_equal(tmp_path):
    """A rate as a number of numpy, an integer for a float and another instance of a partial are the same settings."""
    make = functools.partial(torch.optim.SGD, momentum=0.5)
    started(tmp_path, {"optimizer_fn": make, "optimizer_params": {"lr": 1.0}})
    again = {"optimizer_fn": functools.partial(torch.optim.SGD, momentum=np.float64(0.5)), "optimizer_params": {"lr": np.float32(1)}}
    assert Recipe(**again).start(tmp_path, "auto").state.step == 8


def test_optimizers_that_lambdas_make_are_told_apart(tmp_path):
    """Two lambdas in one line have one name and two codes; the error names the optimizer instead of a missing key of its state."""
    adagrad, adam = (lambda p, **o: torch.optim.Adagrad(p, **o)), (lambda p, **o: torch.optim.Adam(p, **o))
    started(tmp_path, {"optimizer_fn": adam})
    with pytest.raises(ValueError, match=r"the code of optimizer was changed.*lr_decay of the optimizer was None and is 0"):
        Recipe(optimizer_fn=adagrad).start(tmp_path, "auto")
