"""A save whose files are intact and whose content is not a run's state is refused, named, and the save before it is used."""

from __future__ import annotations

import copy
import json
import logging
import shutil

import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe, assert_same, result

from torch_rechub.basic.callback import EMA, Callback, Checkpoint
from torch_rechub.basic.metric import LogLoss
from torch_rechub.storage import saves as saves_module
from torch_rechub.storage.saves import DamagedSaveError, SaveFolder
from torch_rechub.storage.tree import split_tree

SAVE = "save-00000004"
NESTED = "[" * 5000 + "]" * 5000


def forge(folder, text):
    """Replace the state of a save by ``text``, with digests that are correct."""
    (folder / "state.json").write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("seal")
    manifest["files"]["state.json"] = saves_module.digest(folder / "state.json")
    (folder / "manifest.json").write_text(saves_module._sealed(manifest))


def put(path, value):
    """A change of a state: the value at a path of keys is replaced; it is removed where ``value`` is ``...``."""

    def change(state):
        *way, last = path
        for key in way:
            state = state[key]
        if value is ...:
            del state[last]
        else:
            state[last] = value

    return change


#: What is changed, and the word by which the error names it.
CHANGES = {
    "history is a number": (put(["history"], 5), "history"),
    "a record is a list": (put(["history", 0], []), "history"),
    "a record without a step": (put(["history", 0], {"epoch": 1}), "history"),
    "no history": (put(["history"], ...), "history"),
    "callbacks are null": (put(["callbacks"], None), "callbacks"),
    "a callback too few": (lambda state: state["callbacks"].popitem(), "callbacks"),
    "a callback's state is a list": (put(["callbacks", "EarlyStopper"], []), "callbacks"),
    "a callback's state is empty": (put(["callbacks", "EarlyStopper"], {}), "the state of EarlyStopper"),
    "best weights are text": (lambda state: _stopper(state).update(best_weights="none"), "best_weights"),
    "the trial counter is text": (lambda state: _stopper(state).update(trial_counter="2"), "trial_counter"),
    "the loader is at a text": (put(["loader", "batch"], "2"), "loader"),
    "the loader is at a fraction": (put(["loader", "epoch"], 0.5), "loader"),
    "the loader is null": (put(["loader"], None), "loader"),
    "the batch does not exist": (put(["position", "batch"], 400), "batch"),
    "a step is true": (put(["position", "step"], True), "step"),
    "a step is negative": (put(["position", "step"], -1), "step"),
    "another fact": (put(["position", "history"], 3), "position"),
    "metrics are text": (put(["position", "metrics"], "good"), "metrics"),
    "no parameters": (put(["parameters"], {}), "missing"),
    "parameters are numbers": (lambda state: state["parameters"].update(dict.fromkeys(state["parameters"], 1.0)), "parameters"),
    "a parameter of another shape": (lambda state: _swap(state["parameters"]), "must be"),
    "the optimizer has no groups": (put(["optimizer", "param_groups"], []), "optimizer"),
    "the optimizer's state is a list": (put(["optimizer", "state"], []), "optimizer"),
    "the optimizer's state is text": (lambda state: state["optimizer"]["state"]["of"][0].__setitem__(1, "none"), "optimizer"),
    "the mean loss is a number": (put(["mean_loss"], 0.5), "mean_loss"),
    "the random state is empty": (put(["random"], {}), "random state"),
    "another process": (put(["rank_states"], [{"random": {}, "loader": {}}]), "rank_states"),
    "the identity is a list": (put(["identity"], []), "identity"),
    "seconds are text": (put(["seconds"], "1"), "seconds"),
}
TEXTS = {"null": "null", "a list": "[]", "a number": "3", "nested": NESTED, "an empty dict": "{}", "a tag": '{"$": "dict"}', "nothing": ""}
TEXTS |= {"an unknown tag": '{"$": "code", "of": []}', "bytes": "\ufeff{}", "a tensor that is none": '{"$": "tensor", "of": "99999"}'}


def _stopper(state):
    return state["callbacks"]["EarlyStopper"]


def _swap(parameters):
    """Give a parameter the tensor of one with another shape."""
    names = list(parameters)
    parameters[names[0]] = parameters[names[-1]]


RECIPE = Recipe(callbacks=lambda: [EMA(0.9)], n_epoch=1, val_every=2)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The folder of a run that was interrupted after step 3, with two equal saves of it, and the result of an uninterrupted one."""
    folder = tmp_path_factory.mktemp("interrupted")
    expected = result(RECIPE.start(folder / "uninterrupted", None))
    with pytest.raises(Interrupted):
        RECIPE.start(folder / "run", None, InterruptAt(3))
    saves = SaveFolder(folder / "run" / "resume")
    shutil.copytree(saves.folder / saves.names()[-1], saves.folder / SAVE)
    return folder / "run", expected


def parts(trainer):
    """All that a save would change, as plain values and tensors."""
    optimizer = trainer.optimizer.state_dict()
    return split_tree([trainer.model.state_dict(), optimizer, trainer.early_stopper.best_weights, list(trainer.history)])


class Watch(Callback):
    """The weights with which a run begins; it observes only."""

    part_of_run = False

    def on_fit_begin(self, trainer):
        self.before = copy.deepcopy(parts(trainer))
        self.trainer = trainer

    def assert_unchanged(self):
        """Weights, optimizer and best weights are as they were."""
        now = parts(self.trainer)
        assert now[0] == self.before[0]
        assert zoo.same(now[1], self.before[1])


@pytest.mark.parametrize("name", [*CHANGES, *TEXTS])
def test_a_state_of_another_shape_is_named_and_the_save_before_is_used(name, interrupted, tmp_path, caplog):
    """Valid JSON of the wrong shape is refused by its name, and the run goes on from the save before, bit for bit."""
    folder, expected = interrupted
    shutil.copytree(folder, tmp_path / "run")
    saves = SaveFolder(tmp_path / "run" / "resume")
    assert saves.names()[-1] == SAVE
    word = _forge(saves, SAVE, name)
    with caplog.at_level(logging.WARNING):
        resumed = RECIPE.start(tmp_path / "run", "auto", seed=9)
    assert f"{SAVE}/" in caplog.text
    assert word in caplog.text
    assert "could not be put back" not in caplog.text
    assert_same(result(resumed), expected)


@pytest.mark.parametrize("name", [*CHANGES, *TEXTS])
def test_a_refused_state_changes_nothing(name, interrupted, tmp_path):
    """Where the only save is refused, fit raises, and the weights, model.pth and the save's files are as before."""
    folder, _ = interrupted
    shutil.copytree(folder, tmp_path / "run")
    saves, watch = SaveFolder(tmp_path / "run" / "resume"), Watch()
    for other in saves.names()[:-1]:
        shutil.rmtree(saves.folder / other)
    _forge(saves, SAVE, name)
    (tmp_path / "run" / "model.pth").write_bytes(b"earlier")
    with pytest.raises(DamagedSaveError, match=SAVE):
        RECIPE.start(tmp_path / "run", "auto", watch, seed=9)
    watch.assert_unchanged()
    assert (tmp_path / "run" / "model.pth").read_bytes() == b"earlier"
    assert saves.names() == [SAVE]


def _forge(saves, save, name):
    if name in TEXTS:
        forge(saves.folder / save, TEXTS[name])
        return "state.json"
    change, word = CHANGES[name]
    state = json.loads((saves.folder / save / "state.json").read_text())
    change(state)
    forge(saves.folder / save, json.dumps(state))
    return word


class TensorMetric(LogLoss):
    """A metric of the user's that returns a tensor."""

    name = "mine"

    def compute(self):
        return torch.tensor(super().compute())


class Notes(Callback):
    """Writes values of other kinds where a user may."""

    def on_validation_end(self, trainer):
        trainer.state.metrics["note"] = "text"
        trainer.history.update_last(note=torch.ones(2), seen=None, more=["a", {"b": 1}])


def test_what_a_user_may_write_is_read_again(tmp_path):
    """Metrics that are tensors, and notes of any kind in metrics and records, are saved and resumed."""
    options = {"metrics": ["auc", TensorMetric()], "monitor": "mine", "model_path": tmp_path}
    for n_epoch in (1, 2):
        trainer = zoo.trainer(n_epoch=n_epoch, callbacks=[Notes(), Checkpoint(keep_best=2)], **options)
        trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.resumed
    assert [record["seen"] for record in trainer.history] == [None, None]


class FailsToLoad(Callback):
    """A callback of the user's that cannot load its state."""

    def state_dict(self):
        return {"n": 1}

    def load_state_dict(self, state):
        raise KeyError("m")


def test_a_callback_that_cannot_load_its_state_leaves_the_model(tmp_path):
    """An error of a user's callback names it, and neither weights nor optimizer have changed."""
    recipe, watch = Recipe(callbacks=lambda: [FailsToLoad()]), Watch()
    with pytest.raises(Interrupted):
        recipe.start(tmp_path, None, InterruptAt(3))
    with pytest.raises(DamagedSaveError, match="the state of FailsToLoad cannot be used: KeyError: 'm'"):
        recipe.start(tmp_path, "auto", watch, seed=9)
    watch.assert_unchanged()
