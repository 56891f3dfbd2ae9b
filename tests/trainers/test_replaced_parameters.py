"""The optimizer has the parameters that the model and the criterion have when a run begins, also where they were replaced."""

from __future__ import annotations

import copy

import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.callback import Callback


def replace_mlp(trainer):
    trainer.model.mlp = copy.deepcopy(zoo.model(seed=4).mlp)


def assign_weights(trainer):
    trainer.model.load_state_dict(zoo.model(seed=4).state_dict(), assign=True)


def other_model(trainer):
    trainer.model = zoo.model(seed=4)


@pytest.mark.parametrize("replace", [replace_mlp, assign_weights, other_model])
@pytest.mark.parametrize("fitted", [False, True])
def test_replaced_parameters_are_trained(replace, fitted):
    """Parameters replaced before a fit are those that the optimizer changes."""
    trainer = zoo.trainer(n_epoch=1)
    if fitted:
        trainer.fit(*zoo.loaders())
    replace(trainer)
    before = zoo.copy_of(dict(trainer.model.named_parameters()))
    trainer.fit(*zoo.loaders())
    moved = [name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])]
    assert {"mlp.mlp.0.weight", "mlp.mlp.4.weight"} <= set(moved)


class FirstStep(Callback):
    """Keeps the parameters of the optimizer and of the objective at the first step."""

    def on_backward_end(self, trainer):
        self.optimized = {id(parameter) for group in trainer.optimizer.param_groups for parameter in group["params"]}
        self.objective = {id(parameter) for _, parameter in trainer.named_parameters()}


class Scaled(nn.Module):
    """Binary cross-entropy with a learned factor on the logit."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.0))

    def forward(self, prediction, y):
        return nn.functional.binary_cross_entropy(torch.sigmoid((1 + self.factor) * torch.logit(prediction)), y)


def other_criterion(trainer):
    trainer.criterion = Scaled()


@pytest.mark.parametrize("change", [None, replace_mlp, other_model, other_criterion])
def test_the_optimizer_has_the_parameters_of_the_objective(change):
    """At the first step the optimizer's parameters are the objective's, whatever was changed since the trainer was made."""
    first = FirstStep()
    trainer = zoo.trainer(n_epoch=1, callbacks=[first])
    if change is not None:
        change(trainer)
    trainer.fit(*zoo.loaders())
    assert first.optimized == first.objective


def test_a_criterions_parameter_is_learned_saved_and_left_out_of_the_model(tmp_path):
    """It moves, is kept with the best weights, and model.pth does not hold it."""
    trainer = zoo.trainer(model_path=tmp_path)
    trainer.criterion = Scaled()
    trainer.fit(*zoo.loaders())
    assert trainer.criterion.factor.item() != 0.0
    assert trainer.early_stopper.best_extra_weights["criterion.factor"].item() == trainer.criterion.factor.item()
    assert set(torch.load(tmp_path / "model.pth", weights_only=True)) == set(trainer.model.state_dict())
