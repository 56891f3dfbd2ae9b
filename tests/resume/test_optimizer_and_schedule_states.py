"""One wrong value in the state of an optimizer or a schedule is named, and the save before it is used."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
from resuming import InterruptAt, Interrupted, Recipe, assert_same, result
from test_resume_state_shapes import SAVE, Watch, forge
from torch.optim import lr_scheduler

from torch_rechub.optim import FTRL, RowWiseAdagrad
from torch_rechub.storage.saves import DamagedSaveError, SaveFolder

RECIPES = {
    "Adam": Recipe(n_epoch=1, val_every=2, scheduler_fn=lr_scheduler.StepLR, scheduler_params={"step_size": 1}),
    "torch": Recipe(
        n_epoch=1,
        val_every=2,
        optimizer_fn=torch.optim.RMSprop,
        scheduler_fn=lr_scheduler.ReduceLROnPlateau,
        scheduler_params={"patience": 0},
    ),
}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """For each recipe the folder of a run that was interrupted after step 3, and the result of an uninterrupted one."""
    made = {}
    for name, recipe in RECIPES.items():
        folder = tmp_path_factory.mktemp(name)
        expected = result(recipe.start(folder / "uninterrupted", None))
        with pytest.raises(Interrupted):
            recipe.start(folder / "run", None, InterruptAt(3))
        saves = SaveFolder(folder / "run" / "resume")
        shutil.copytree(saves.folder / saves.names()[-1], saves.folder / SAVE)
        made[name] = folder / "run", expected
    return made


def entries(state):
    """The entries of the first weights in an optimizer's state that has no rows behind, by name."""
    return next(content for _, content in state["optimizer"]["state"]["of"] if "lag" not in content)


def other_tensor(entry, state):
    """The tensor of weights of another shape."""
    entry["of"] = next(each["exp_avg" if "exp_avg" in each else "square_avg"]["of"] for _, each in state["optimizer"]["state"]["of"][:1])


def last(state):
    """The entries of the last weights."""
    return state["optimizer"]["state"]["of"][-1][1]


def group(state):
    return state["optimizer"]["param_groups"][0]


def schedule(state):
    return state["callbacks"]["LearningRate"]


#: recipe, what is changed, and the word by which the error names it.
CHANGES = {
    "a rate is text": ("Adam", lambda s: group(s).update(lr="fast"), "param_groups[0].lr"),
    "a flag is text": ("torch", lambda s: group(s).update(centered="no"), "param_groups[0].centered"),
    "betas are a number": ("Adam", lambda s: group(s).update(betas=0.9), "param_groups[0].betas"),
    "three betas": ("Adam", lambda s: group(s)["betas"]["of"].append(0.9), "param_groups[0].betas"),
    "eps is null": ("Adam", lambda s: group(s).update(eps=None), "param_groups[0].eps"),
    "no rate": ("Adam", lambda s: group(s).pop("lr"), "'lr' is missing"),
    "other weights": ("torch", lambda s: group(s)["params"].reverse(), "param_groups[0].params"),
    "a step is text": ("Adam", lambda s: entries(s).update(step="3"), ".step"),
    "an average is a number of text": ("Adam", lambda s: entries(s).update(exp_avg="0"), ".exp_avg"),
    "an average of another shape": ("Adam", lambda s: other_tensor(entries(s)["exp_avg_sq"], s), ".exp_avg_sq"),
    "an average of another shape in torch's": (
        "torch",
        lambda s: other_tensor(s["optimizer"]["state"]["of"][-1][1]["square_avg"], s),
        "avg",
    ),
    "an average is missing": ("torch", lambda s: entries(s).pop("square_avg"), "'square_avg' is missing"),
    "weights that are not there": ("torch", lambda s: s["optimizer"]["state"]["of"][0].__setitem__(0, 99), "an entry 99"),
    "a schedule counts in text": ("Adam", lambda s: schedule(s)["scheduler"].update(last_epoch="1"), "scheduler.last_epoch"),
    "a schedule has no base": ("Adam", lambda s: schedule(s)["scheduler"].pop("base_lrs"), "'base_lrs' is missing"),
    "a schedule has two bases": ("Adam", lambda s: schedule(s)["scheduler"]["base_lrs"].append(1.0), "scheduler.base_lrs"),
    "a base is null": ("Adam", lambda s: schedule(s)["scheduler"]["base_lrs"].__setitem__(0, None), "scheduler.base_lrs[0]"),
    "two targets": ("Adam", lambda s: schedule(s)["targets"].append(1.0), "targets"),
    "a plateau's best is a list": ("torch", lambda s: schedule(s)["scheduler"].update(best=[]), "scheduler.best"),
    "a plateau's mode is a number": ("torch", lambda s: schedule(s)["scheduler"].update(mode=1), "scheduler.mode"),
}


def spoil(saves, name):
    _, change, word = CHANGES[name]
    state = json.loads((saves.folder / SAVE / "state.json").read_text())
    change(state)
    forge(saves.folder / SAVE, json.dumps(state))
    return word


@pytest.mark.parametrize("name", CHANGES)
def test_one_wrong_value_is_named_and_the_save_before_is_used(name, interrupted, tmp_path, caplog):
    """The warning names the entry, and the run goes on from the save before, bit for bit."""
    recipe, (folder, expected) = RECIPES[CHANGES[name][0]], interrupted[CHANGES[name][0]]
    shutil.copytree(folder, tmp_path / "run")
    word = spoil(SaveFolder(tmp_path / "run" / "resume"), name)
    with caplog.at_level(logging.WARNING):
        resumed = recipe.start(tmp_path / "run", "auto", seed=9)
    assert f"{SAVE}/" in caplog.text
    assert word in caplog.text
    assert_same(result(resumed), expected)


@pytest.mark.parametrize("name", CHANGES)
def test_one_wrong_value_changes_nothing(name, interrupted, tmp_path):
    """Where the only save is refused, weights and optimizer are as they were."""
    recipe, (folder, _) = RECIPES[CHANGES[name][0]], interrupted[CHANGES[name][0]]
    shutil.copytree(folder, tmp_path / "run")
    saves, watch = SaveFolder(tmp_path / "run" / "resume"), Watch()
    for other in saves.names()[:-1]:
        shutil.rmtree(saves.folder / other)
    spoil(saves, name)
    with pytest.raises(DamagedSaveError, match=SAVE):
        recipe.start(tmp_path / "run", "auto", watch, seed=9)
    watch.assert_unchanged()


@pytest.mark.parametrize("optimizer_fn", [FTRL, RowWiseAdagrad, torch.optim.LBFGS, torch.optim.Adafactor])
def test_the_states_of_other_optimizers_are_accepted(optimizer_fn, tmp_path):
    """Sums by row, history vectors and factored moments are what the live optimizer writes, and resume."""
    recipe = Recipe(n_epoch=1, optimizer_fn=optimizer_fn, optimizer_params={"lr": 0.01})
    resumed = recipe.interrupted_at(tmp_path, 2)
    assert resumed.resumed
