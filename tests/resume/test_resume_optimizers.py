"""A run that is interrupted at any step and resumed ends bit for bit as an uninterrupted one, with every optimizer."""

from __future__ import annotations

import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe, assert_resumes
from torch.optim import lr_scheduler

from torch_rechub import optim
from torch_rechub.optim import use_kernels

#: name -> (optimizer_fn, optimizer_params)
OPTIMIZERS = {
    "Adam": (optim.Adam, {"lr": 0.05}),
    "torch Adam, mapped": (torch.optim.Adam, {"lr": 0.05}),
    "Adam, coupled decay": (optim.Adam, {"lr": 0.05, "weight_decay": 0.01}),
    "Adam, amsgrad": (optim.Adam, {"lr": 0.05, "amsgrad": True}),
    "AdamW": (optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}),
    "SGD": (optim.SGD, {"lr": 0.5}),
    "SGD, momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "SGD, Nesterov": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "Adagrad": (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1}),
    "RowWiseAdagrad": (optim.RowWiseAdagrad, {"lr": 0.1}),
    "FTRL": (optim.FTRL, {"lr": 0.1}),
    "torch RMSprop, foreign": (torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.5}),
    "torch AdamW on its own": (lambda params, **options: torch.optim.AdamW(params, **options), {"lr": 0.05}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resume_at_every_step_of_every_optimizer(name, tmp_path):
    """Resumed after any step, with lagging rows, a run has the same weights, optimizer state, history and random states."""
    optimizer_fn, params = OPTIMIZERS[name]
    recipe = Recipe(lambda: zoo.model(dims=[4]), lambda: zoo.loaders(48, n_val=24), optimizer_fn=optimizer_fn, optimizer_params=params)
    assert_resumes(recipe, tmp_path)


def test_every_optimizer_has_a_recipe():
    """Every public optimizer has a recipe in this file."""
    public = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)} - {"RowOptimizer"}
    assert public <= {fn.__name__ for fn, _ in OPTIMIZERS.values() if fn.__module__.startswith("torch_rechub")}


@pytest.mark.parametrize("kernels", ["torch", "numba"])
def test_resume_with_either_kernels(kernels, tmp_path):
    """A run with the plain kernels and one with the compiled kernels resume bit for bit."""
    with use_kernels(kernels):
        assert_resumes(Recipe(lambda: zoo.model(dims=[4])), tmp_path, steps=(1, 3, 6))


def test_resume_with_other_kernels_is_allowed(tmp_path):
    """A run saved with the compiled kernels and resumed with the plain ones has the same weights, to rounding."""
    recipe = Recipe(lambda: zoo.model(dims=[4]), optimizer_fn=optim.Adagrad, optimizer_params={"lr": 0.01})
    with use_kernels("numba"):
        uninterrupted = recipe.start(tmp_path / "uninterrupted", None)
        with pytest.raises(Interrupted):
            recipe.start(tmp_path / "a", None, InterruptAt(3))
    with use_kernels("torch"):
        other = recipe.start(tmp_path / "a", "auto")
    for name, value in uninterrupted.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_resume_with_betas_that_change(tmp_path):
    """A cycling beta1 makes the row optimizer restart its running sums, in a resumed run at the same step."""
    recipe = Recipe(
        lambda: zoo.model(dims=[]),
        scheduler_fn=lr_scheduler.OneCycleLR,
        scheduler_params={"max_lr": 0.1, "base_momentum": 0.5, "max_momentum": 0.97},
    )
    assert_resumes(recipe, tmp_path, steps=(1, 4, 6))
