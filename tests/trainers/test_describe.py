"""describe() gives the loop as an outline in words."""

from __future__ import annotations

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback
from torch_rechub.basic.callback.base import HOOKS, STEPS_OF_THE_LOOP


class TwoHooks(Callback):
    def on_batch_begin(self, trainer): ...

    def on_exception(self, trainer): ...


def acting(text):
    """Hook -> the callbacks that the outline shows there."""
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    return {line[0]: line[1].split(", ") for line in lines if len(line) == 2 and line[0] in {*HOOKS, *STEPS_OF_THE_LOOP}}


def depth(text, start):
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return (len(line) - len(line.lstrip())) // 2


def test_describe_shows_every_hook_with_its_callbacks(tmp_path):
    """Each hook appears once, with exactly the callbacks that override it, in the order in which they run."""
    trainer = zoo.trainer(callbacks=[TwoHooks(), zoo.Watch()], model_path=tmp_path, progress=True)
    shown = acting(trainer.describe())
    assert set(shown) == {*HOOKS, *STEPS_OF_THE_LOOP}
    for hook, names in shown.items():
        expected = [
            type(each).__name__ for each in trainer.callbacks if hook in {name for kind in type(each).__mro__[:-2] for name in vars(kind)}
        ]
        assert names == (expected or ["-"]), hook
    assert shown["on_batch_begin"] == ["TwoHooks", "Progress"]
    assert "TwoHooks" in shown["on_exception"]
    assert shown["on_validation_begin"] == ["Watch", "Progress"]


def test_describe_follows_the_loop(tmp_path):
    """The hooks appear in the order in which a run first calls them, indented by the depth of the loop."""
    met = []

    def remember(hook):
        return lambda self, trainer: met.append(hook)

    everything = type("Everything", (Callback,), {hook: remember(hook) for hook in (*HOOKS, *STEPS_OF_THE_LOOP)})()
    trainer = zoo.trainer(callbacks=[everything], model_path=tmp_path, n_epoch=1)
    trainer.fit(*zoo.loaders(), resume="auto")
    text = trainer.describe()
    order = [hook for hook, names in acting(text).items() if hook != "on_exception" and "Everything" in names]
    assert order == list(dict.fromkeys(met))
    assert [depth(text, start) for start in ("fit,", "epoch", "on_epoch_begin", "batch", "on_batch_begin")] == [0, 1, 2, 2, 3]
    assert depth(text, "on_validation_end") == depth(text, "on_validation_begin") == depth(text, "on_validation_batch_end") - 1


def test_describe_names_the_settings(tmp_path):
    """The outline names optimizer, schedule and interval, validations, accumulation, clipping, monitor, direction and folder."""
    trainer = zoo.trainer(
        scheduler_fn=torch.optim.lr_scheduler.StepLR,
        scheduler_params={"step_size": 1},
        scheduler_interval="step",
        val_every=7,
        accumulate=3,
        clip_norm=2.5,
        monitor="logloss",
        model_path=tmp_path / "here",
    )
    text = trainer.describe()
    for words in (
        "StepLR, once each step",
        "every 7 steps",
        "3 batches make",
        "norm 2.5",
        "logloss, best is its minimum",
        "here",
        "Adam",
        "0.05",
        "3 epochs",
    ):
        assert words in text, words
    assert all(repr(callback) in text for callback in trainer.callbacks)


@pytest.mark.parametrize(
    ("val_every", "words"), [(None, "at each epoch's end"), (0.25, "every 0.25 of an epoch"), (1.0, "at each epoch's end")]
)
def test_describe_says_when_validations_run(val_every, words):
    """The outline says whether validations follow an epoch, a fraction of it, or a number of steps."""
    assert words in zoo.trainer(val_every=val_every).describe()


def test_describe_changes_nothing():
    """Describing before, after and twice gives the same outline, and trains nothing."""
    trainer = zoo.trainer(model_path=None)
    before, weights = trainer.describe(), zoo.copy_of(trainer.model.state_dict())
    assert trainer.describe() == before
    assert zoo.same(weights, trainer.model.state_dict())
    trainer.fit(*zoo.loaders())
    assert trainer.describe() == before
    assert "none: model_path=None" in before
