"""Laws of every callback, and of the hooks of a run."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
import zoo

from torch_rechub.basic import callback as callbacks
from torch_rechub.basic.callback import Callback
from torch_rechub.basic.callback.base import HOOKS, STEPS_OF_THE_LOOP

#: Public callback -> how to make one.
RECIPES = {
    "Callback": callbacks.Callback,
    "Checkpoint": callbacks.Checkpoint,
    "EarlyStopper": lambda: callbacks.EarlyStopper(2),
    "LearningRate": lambda: callbacks.LearningRate(torch.optim.lr_scheduler.StepLR, {"step_size": 1}),
    "MetricLog": lambda: callbacks.MetricLog([]),
    "Progress": callbacks.Progress,
    "ReinitEmbeddings": callbacks.ReinitEmbeddings,
    "Report": callbacks.Report,
    "GracefulStop": lambda: callbacks.GracefulStop(),
    "EMA": lambda: callbacks.EMA(0.9),
    "SWA": lambda: callbacks.SWA(start_epoch=1),
    "GradientClip": lambda: callbacks.GradientClip(max_norm=1.0),
    "NonFiniteGuard": lambda: callbacks.NonFiniteGuard("rollback"),
    "TimeLimit": lambda: callbacks.TimeLimit("1h"),
    "MemoryWatch": lambda: callbacks.MemoryWatch(10**15),
}
NAMES = sorted(callbacks.__all__)


def test_every_public_callback_has_a_recipe():
    """Every public callback has a recipe in this file."""
    assert set(NAMES) <= set(RECIPES)


@pytest.mark.parametrize("name", NAMES)
def test_a_callback_of_the_user_works_in_two_fits(name, tmp_path):
    """Each callback, given by the user, runs in two fits of one trainer, and both make all epochs."""
    callback = RECIPES[name]()
    trainer = zoo.trainer(callbacks=[callback], model_path=tmp_path)
    assert sum(each is callback for each in trainer.callbacks) == 1
    lengths = [len(trainer.fit(*zoo.loaders())) for _ in range(2)]
    assert lengths == [3, 3]


@pytest.mark.parametrize("name", NAMES)
def test_the_state_of_a_callback_is_plain_and_round_trips(name, tmp_path):
    """state_dict holds tensors, numbers, strings, lists and dicts only, and load_state_dict followed by state_dict gives it again."""
    callback, other = RECIPES[name](), RECIPES[name]()
    zoo.trainer(callbacks=[callback], model_path=tmp_path / "a").fit(*zoo.loaders())
    zoo.trainer(zoo.model(), callbacks=[other], model_path=tmp_path / "b", n_epoch=1).fit(*zoo.loaders())
    state = callback.state_dict()
    torch.save(state, tmp_path / "state.pth")
    other.load_state_dict(copy.deepcopy(torch.load(tmp_path / "state.pth", weights_only=True)))
    assert repr(other.state_dict()) == repr(state)


@pytest.mark.parametrize("name", NAMES)
def test_repr_of_a_callback_names_its_class(name):
    """repr begins with the name of the class."""
    assert repr(RECIPES[name]()).startswith(name)


@pytest.mark.parametrize("name", NAMES)
def test_hooks_take_the_trainer_alone(name):
    """Every hook of every callback has one argument, the trainer, and every method named on_ is a known hook."""
    kind = getattr(callbacks, name)
    for hook in (*HOOKS, *STEPS_OF_THE_LOOP):
        assert list(inspect.signature(getattr(kind, hook)).parameters) == ["self", "trainer"]
    assert {method for method in dir(kind) if method.startswith("on_")} == set(HOOKS)


@pytest.mark.parametrize(("name", "meant"), [("on_check_end", "on_record"), ("on_epoch_ended", "on_epoch_end"), ("on_zzz", "Hooks are")])
def test_a_method_that_is_no_hook_is_refused(name, meant):
    """A callback with a misspelled or renamed hook is refused when the trainer is made; the error names the hook that was meant."""
    kind = type("Own", (Callback,), {name: lambda self, trainer: None})
    with pytest.raises(TypeError, match=f"Own.{name} is not a hook and would never be called.*{meant}"):
        zoo.trainer(callbacks=[kind()])


def recorder(log, who="", fail=()):
    """A callback that logs every hook, and raises in those of ``fail``."""

    def hook_of(hook):
        def called(self, trainer):
            log.append(f"{who}{hook}")
            if hook in fail:
                raise ValueError(f"{who}{hook}")

        return called

    return type("Recorder", (Callback,), {hook: hook_of(hook) for hook in HOOKS})()


def expected_hooks(n_epoch, n_batch, accumulate, n_val_batch, best):
    """The hooks of a run that validates at each epoch's end, without saves on request, in plain Python."""
    hooks = ["on_fit_begin"]
    for epoch in range(n_epoch):
        hooks.append("on_epoch_begin")
        for batch in range(1, n_batch + 1):
            hooks.append("on_batch_begin")
            if batch % accumulate == 0 or batch == n_batch:
                hooks.append("on_backward_end")
            hooks.append("on_batch_end")
        if n_val_batch:
            hooks += ["on_validation_begin", *["on_validation_batch_end"] * n_val_batch]
            hooks += [*["on_new_best"] * (epoch in best), "on_validation_end"]
        hooks += ["on_record", "on_epoch_end"]
    return [*hooks, "on_fit_end"]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("val", [True, False])
def test_hooks_are_called_in_order(accumulate, val):
    """The hooks of a run are those of plain Python: once per optimizer step for on_backward_end, at each new best for on_new_best."""
    log = []
    trainer = zoo.trainer(zoo.plain_model(), callbacks=[recorder(log)], accumulate=accumulate)
    if val:
        trainer.evaluate_fn = zoo.Scripted([0.5, 0.4, 0.6])
    trainer.fit(zoo.loaders()[0], zoo.loaders()[1] if val else None)
    assert log == expected_hooks(3, 4, accumulate, 3 if val else 0, best={0, 2})


def test_callbacks_are_called_in_list_order():
    """Each hook is called for the first callback of the list first."""
    log = []
    zoo.trainer(callbacks=[recorder(log, "a."), recorder(log, "b.")], n_epoch=1).fit(*zoo.loaders())
    assert log[0::2] == [entry.replace("b.", "a.") for entry in log[1::2]]
    assert all(entry.startswith("a.") for entry in log[0::2])


@pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook != "on_exception"])
def test_an_exception_ends_every_callback_that_began_once(hook, tmp_path):
    """Whatever hook raises, on_exception (except in on_fit_end) and on_fit_end are called once for each callback that began."""
    log = []
    trainer = zoo.trainer(callbacks=[recorder(log, "a."), recorder(log, "b.", fail=[hook]), recorder(log, "c.")], model_path=tmp_path)
    with pytest.raises(ValueError, match=f"b.{hook}"):
        trainer.fit(*zoo.loaders(), resume="auto")
    began = ["a."] if hook == "on_fit_begin" else ["a.", "b.", "c."]
    last = [f"{who}on_fit_end" for who in began]
    if hook != "on_fit_end":
        last = [f"{who}on_exception" for who in began] + last
    assert log[-len(last) :] == last
    assert sum(entry.endswith("on_fit_end") for entry in log) == len(began)


def test_errors_in_the_last_hooks_skip_no_callback():
    """Where on_exception and on_fit_end raise as well, they are still called for all callbacks."""
    log = []
    fail = ["on_batch_end", "on_exception", "on_fit_end"]
    trainer = zoo.trainer(callbacks=[recorder(log, "a.", fail), recorder(log, "b.", fail)])
    with pytest.raises(ValueError, match="on_"):
        trainer.fit(*zoo.loaders())
    assert log[-4:] == ["a.on_exception", "b.on_exception", "a.on_fit_end", "b.on_fit_end"]
    assert trainer.state.phase == "idle"
    assert not trainer.model.training


def test_state_holds_the_facts_of_each_hook():
    """trainer.state holds the epoch, the batch, the step, the rows and the phase at each hook."""
    seen = []

    class Reads(Callback):
        def on_batch_end(self, trainer):
            state = trainer.state
            seen.append((state.phase, state.epoch, state.batch, state.step, state.stepped, state.rows, state.n_batch))

        def on_validation_end(self, trainer):
            state = trainer.state
            recorded = trainer.history[-1]["auc"] == state.metrics["auc"]
            seen.append((state.phase, state.epoch, state.n_validation, sorted(state.metrics), recorded))

    zoo.trainer(callbacks=[Reads()], accumulate=2, n_epoch=2).fit(*zoo.loaders(n=40))
    assert seen == [
        ("train", 0, 1, 0, False, 16, 3),
        ("train", 0, 2, 1, True, 32, 3),
        ("train", 0, 3, 2, True, 40, 3),
        ("decide", 0, 1, ["auc", "logloss"], True),
        ("train", 1, 1, 2, False, 56, 3),
        ("train", 1, 2, 3, True, 72, 3),
        ("train", 1, 3, 4, True, 80, 3),
        ("decide", 1, 2, ["auc", "logloss"], True),
    ]
