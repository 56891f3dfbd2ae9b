"""A model with Dice, whose running averages are no entries of its weights, is resumed bit for bit."""

import pytest
import torch
import zoo
from resuming import Recipe, assert_resumes, assert_same, result
from torch import nn

from torch_rechub.basic.activation import Dice
from torch_rechub.basic.callback import EMA, SWA, NonFiniteGuard
from torch_rechub.engine.extra_state import absent_buffers, create_buffers, remove_buffers
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import find_learning_rate

CASES = {"plain": list, "EMA": lambda: [EMA(0.5)], "SWA": lambda: [SWA(start_epoch=1)], "guard": lambda: [NonFiniteGuard("rollback")]}


def dice_model(learns_width=False):
    """A DeepFM with Dice, whose layers may learn their width from the first batch."""
    torch.manual_seed(0)
    model = DeepFM([zoo.USER, zoo.ITEM, zoo.AGE], [zoo.USER, zoo.ITEM], {"dims": [6, 4], "activation": "dice", "dropout": 0.1})
    for i in (2, 6) if learns_width else ():
        model.mlp.mlp[i] = Dice()
    return model


@pytest.mark.parametrize("learns_width", [False, True], ids=["width given", "width learned"])
@pytest.mark.parametrize("case", CASES)
def test_a_run_of_a_model_with_dice_is_resumed_bit_for_bit(tmp_path, case, learns_width):
    """A resumed run ends with the averages of the best validation, also where a layer learns its width from the first batch."""
    expected = assert_resumes(Recipe(lambda: dice_model(learns_width), callbacks=CASES[case]), tmp_path, steps=lambda n: (2, n - 2))
    assert any(name.endswith("mlp.2.running_mean") for name in expected["buffers"])


def test_best_averages_survive_a_resume_after_the_best_validation(tmp_path):
    """Where no later validation is better, a resumed run restores weights and averages of the best one from the save."""
    recipe = Recipe(dice_model, n_epoch=3, optimizer_params={"lr": 1.0})
    whole = recipe.start(tmp_path / "whole", None)
    assert whole.history.best["step"] < whole.state.step - 1
    resumed = recipe.interrupted_at(tmp_path / "cut", whole.state.step - 1)
    assert_same(result(resumed), result(whole))
    ours, theirs = (trainer.early_stopper.best_weights._metadata for trainer in (resumed, whole))
    assert repr(dict(ours)) == repr(dict(theirs))


def test_buffers_that_are_none_are_made_for_a_save_and_unmade():
    """A buffer that is None until a first batch gets a tensor from a save; what the module does not have stays away."""
    module = nn.Sequential(Dice(), nn.Linear(2, 2))
    saved = {"0.running_mean": torch.ones(3), "1.other": torch.ones(3), "2.running_mean": torch.ones(3)}
    absent = absent_buffers(module)
    create_buffers(module, saved)
    assert [*dict(module.named_buffers())] == ["0.running_mean"]
    remove_buffers(absent)
    assert not dict(module.named_buffers())
    assert module[0](torch.randn(4, 3)).shape == (4, 3)


def test_a_search_for_a_rate_leaves_no_averages_behind():
    """After ``find_learning_rate`` a layer that learns its width from the first batch is as new, so the run is the same as without it."""
    ends = []
    for searches in (True, False):
        trainer = zoo.trainer(dice_model(learns_width=True), n_epoch=1)
        if searches:
            find_learning_rate(trainer, zoo.loaders()[0], n_step=10)
            assert trainer.model.mlp.mlp[2].running_mean is None
        trainer.fit(*zoo.loaders())
        ends.append({**dict(trainer.model.named_buffers()), **trainer.model.state_dict()})
    assert zoo.same(*ends)
