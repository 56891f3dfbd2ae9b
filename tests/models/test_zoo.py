"""Laws of every public model of every task, by the recipes of tests/recipes; test_zoo_slow.py has those that take longer."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch
import zoo

import torch_rechub.models as models
from torch_rechub.testing import check_model
from torch_rechub.testing.law import LAWS

#: The subpackages of torch_rechub.models, one for each task.
TASKS = [importlib.import_module(info.name) for info in pkgutil.iter_modules(models.__path__, "torch_rechub.models.") if info.ispkg]
#: Public model of any task -> the task.
TASK_OF = {name: task.__name__.rpartition(".")[2] for task in TASKS for name in task.__all__}
RANKING = sorted(name for name, task in TASK_OF.items() if task == "ranking")
#: Laws whose check takes seconds.
SLOW = {"export", "compile", "gradients", "resume", "mixed precision"}


def test_every_public_model_has_a_recipe():
    """Every public model of every task has a recipe, and every recipe has a model."""
    assert RANKING
    assert len(TASK_OF) == sum(len(task.__all__) for task in TASKS)
    assert sorted(zoo.RECIPES) == sorted(TASK_OF)


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("law", sorted(LAWS.keys() - SLOW))
def test_a_model_keeps_the_law(name, law):
    """Every ranking model keeps every law of torch_rechub.testing."""
    check_model(zoo.model(name), zoo.tensors(12, name=name), only=[law])


@pytest.mark.parametrize("name", RANKING)
def test_two_models_never_share_weights(name):
    """Two models made from the same features share no weight."""
    one, other = zoo.model(name, seed=0), zoo.model(name, seed=1)
    before = zoo.copy_of(other.state_dict())
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert zoo.same(other.state_dict(), before)


@pytest.mark.parametrize("name", RANKING)
def test_every_argument_has_an_effect(name):
    """Another value of any argument changes the weights, the training loss or the predictions after a step, with the same seed."""
    recipe = zoo.RECIPES[name]
    arguments = list(inspect.signature(recipe.kind).parameters)
    assert sorted(recipe.others) == sorted(arguments)
    base = _outcome(name)
    for argument, value in recipe.others.items():
        changed = _outcome(name, **{argument: value, **recipe.together.get(argument, {})})
        assert changed.keys() != base.keys() or any(
            changed[key].shape != tensor.shape or not torch.equal(changed[key], tensor) for key, tensor in base.items()
        ), f"{name}: {argument}={value!r} changes nothing"


def _outcome(name, **changes):
    """The training loss of a model, and its weights and predictions after a step."""
    model, (x, y) = zoo.model(name, **changes), zoo.tensors(12, name=name)
    torch.manual_seed(0)
    loss = model.train()((x, y))
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return {**zoo.copy_of(model.state_dict()), "loss": loss.detach(), "prediction": model.eval()(x).detach()}


@pytest.mark.parametrize("name", RANKING)
def test_a_missing_feature_names_the_closest(name):
    """A missing column is an error with the closest name that exists."""
    model = zoo.model(name)
    x, _ = zoo.tensors(4, name=name)
    with pytest.raises(ValueError, match=r"SparseFeature 'user': x must have this column.*Did you mean 'usr'"):
        model({("usr" if key == "user" else key): column for key, column in x.items()})
