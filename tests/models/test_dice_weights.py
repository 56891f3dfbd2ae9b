"""The running averages of Dice are no entries of the weights, which the existing package loads, and are lost on no way."""

import copy
import io
import logging
import pickle
from functools import cache

import pytest
import torch
import zoo
from safetensors.torch import load_file
from torch import nn

from torch_rechub.basic.activation import Dice
from torch_rechub.basic.callback import EMA, SWA, Checkpoint, NonFiniteGuard
from torch_rechub.basic.layers import MLP
from torch_rechub.engine.extra_state import load_plain_weights, plain_weights
from torch_rechub.models.ranking import DeepFM

FEATURES = [zoo.USER, zoo.ITEM]


def dice_model(learns_width=False):
    """A DeepFM with Dice, whose layers may learn their width from the first batch."""
    torch.manual_seed(0)
    model = DeepFM([*FEATURES, zoo.AGE], FEATURES, {"dims": [6, 4], "activation": "dice", "dropout": 0.1})
    for i in (2, 6) if learns_width else ():
        model.mlp.mlp[i] = Dice()
    return model


def averages(model):
    return {name: tensor.clone() for name, tensor in model.named_buffers() if name.split(".")[-2] in {"2", "6"}}  # the Dice layers


@cache
def trained_once():
    model = dice_model()
    for seed in range(3):
        model(zoo.tensors(seed=seed)[0])
    nn.init.constant_(model.mlp.mlp[2].alpha, 0.3)
    assert all(tensor.any() for tensor in averages(model).values())
    return model


def trained():
    return copy.deepcopy(trained_once())


def by_file(weights):
    """The weights, after they were written and read as tensors only."""
    file = io.BytesIO()
    torch.save(weights, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def silent(caplog):
    return [record for record in caplog.records if "Dice" in record.getMessage()] == []


def test_weights_of_dice_have_the_keys_of_the_existing_package():
    """Of a Dice layer, ``state_dict`` has ``alpha`` only, trained or not, so the existing package loads it strictly."""
    for model in (dice_model(), trained(), dice_model(learns_width=True)):
        assert [name for name in model.state_dict() if name.startswith(("mlp.mlp.2.", "mlp.mlp.6."))] == [
            "mlp.mlp.2.alpha",
            "mlp.mlp.6.alpha",
        ]


@pytest.mark.parametrize("way", [dict.copy, copy.deepcopy, by_file, lambda weights: pickle.loads(pickle.dumps(weights))])
@pytest.mark.parametrize("learns_width", [False, True], ids=["width given", "width learned"])
def test_averages_of_dice_travel_with_the_weights(way, learns_width, caplog):
    """Loading a state_dict, copied or read from a file, gives the predictions of the trained model; a plain dict warns by layer."""
    model, other = trained(), dice_model(learns_width)
    weights = way(model.state_dict())
    other.load_state_dict(weights)
    if type(weights) is dict or way is dict.copy:
        assert "mlp.mlp.2: the weights hold no running averages of Dice" in caplog.text
        return
    assert silent(caplog)
    assert zoo.same(averages(other), averages(model))
    x, _ = zoo.tensors()
    assert torch.equal(other.eval()(x), model.eval()(x))


def test_weights_of_dice_are_independent_of_later_steps():
    """A state_dict taken before a step keeps its averages."""
    model = trained()
    weights, before = model.state_dict(), averages(model)
    model.train()(zoo.tensors()[0])
    assert not zoo.same(averages(model), before)
    other = dice_model()
    other.load_state_dict(weights)
    assert zoo.same(averages(other), before)


def test_weights_of_an_untrained_dice_reset_the_averages(caplog):
    """Weights of a layer that had no averages yet set those of another to mean 0 and variance 1, as they were in use."""
    model = trained()
    model.load_state_dict(dice_model(learns_width=True).state_dict())
    assert silent(caplog)
    assert [(tensor == i % 2).all().item() for i, tensor in enumerate(averages(model).values())] == [True] * 4


def test_averages_of_another_shape_are_refused():
    """Averages of another width are an error that names them, as for weights."""
    narrow, wide = MLP(4, dims=[3], activation="dice").mlp[2], MLP(4, dims=[5], activation="dice").mlp[2]
    with pytest.raises(RuntimeError, match=r"size mismatch for running_mean: the saved average is \(3,\), the layer's is \(5,\)"):
        wide.load_state_dict(narrow.state_dict())


def test_dice_loads_with_assign_into_a_model_without_memory():
    """A model made on the meta device takes weights and averages by ``assign=True``."""
    model = trained().mlp
    with torch.device("meta"):
        other = MLP(model.mlp[0].in_features, dims=[6, 4], activation="dice")
        other.state_dict()
    other.load_state_dict(model.state_dict(), assign=True)
    assert zoo.same(averages_of(other), averages_of(model))


def averages_of(mlp):
    return {name: tensor for name, tensor in mlp.named_buffers() if "running" in name}


def test_copies_and_other_precisions_keep_the_averages():
    """deepcopy, pickle and ``to(dtype)`` keep the averages with the layer."""
    model = trained()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert zoo.same(averages(other), averages(model))
    double = copy.deepcopy(model).double()
    assert all(tensor.dtype == torch.float64 for tensor in averages(double).values())
    double.load_state_dict(model.state_dict())
    assert zoo.same({name: tensor.float() for name, tensor in averages(double).items()}, averages(model))
    assert model.state_dict()._metadata["mlp.mlp.2"]["running_mean"].device.type == "cpu"


@pytest.mark.parametrize("case", ["plain", "EMA", "SWA", "guard"])
def test_best_weights_hold_the_averages_of_their_validation(tmp_path, case, caplog):
    """After ``fit`` the averages are those of the best validation; ``model.pth`` and the safetensors file hold the same."""
    model, measured = dice_model(), {}

    class Watch(Checkpoint):
        def on_validation_end(self, trainer):
            measured[trainer.state.step] = averages(trainer.model)
            super().on_validation_end(trainer)

    callbacks = {"EMA": [EMA(0.5)], "SWA": [SWA(start_epoch=1)], "guard": [NonFiniteGuard("rollback")]}.get(case, [])
    trainer = zoo.trainer(model, model_path=tmp_path, callbacks=[*callbacks, Watch(safetensors=True)])
    trainer.fit(*zoo.loaders())
    assert len({tensor.sum().item() for step in measured.values() for tensor in step.values()}) > 4
    best = measured[trainer.history.best["step"]]
    assert zoo.same(averages(model), best)
    for weights in (torch.load(tmp_path / "model.pth", weights_only=True), load_file(tmp_path / "model.safetensors")):
        other = dice_model()
        other.load_state_dict(weights)
        assert zoo.same(averages(other), best)
    assert silent(caplog)


def test_weights_of_a_model_with_a_compiled_part_hold_the_averages(caplog):
    """Averages and the order of columns pass between a model and one with a compiled part, in both directions."""
    model, other = trained(), dice_model()
    other.mlp, other.embedding = torch.compile(other.mlp, backend="eager"), torch.compile(other.embedding, backend="eager")
    load_plain_weights(other, model.state_dict())
    assert all(torch.equal(averages(other)[name.replace("mlp", "mlp._orig_mod", 1)], tensor) for name, tensor in averages(model).items())
    weights = plain_weights(other)
    back = dice_model()
    back.load_state_dict(weights)
    assert zoo.same(averages(back), averages(model))
    assert weights._metadata["embedding"] == model.state_dict()._metadata["embedding"]
    assert silent(caplog)


def test_existing_weights_of_dice_load_with_a_warning(caplog):
    """Weights without averages load strictly; the warning names the layer, and the averages stay as they are."""
    model = trained()
    before = averages(model)
    with caplog.at_level(logging.WARNING):
        model.load_state_dict(dict(model.state_dict()), strict=True)
    assert caplog.text.count("hold no running averages of Dice") == 2
    assert zoo.same(averages(model), before)


def test_a_part_without_dice_loads_silently(caplog):
    """Weights of another part of the model, loaded with ``strict=False``, warn of nothing."""
    model = trained()
    model.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if name.startswith("linear")}, strict=False)
    assert silent(caplog)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_dice_is_traced_and_exported():
    """``torch.jit.trace`` and ``torch.export`` of a model with Dice give its predictions."""
    mlp = nn.Sequential(trained().mlp).eval()
    x = torch.randn(5, mlp[0].mlp[0].in_features)
    assert torch.equal(torch.jit.trace(mlp, (x,))(x), mlp(x))
    torch.testing.assert_close(torch.export.export(mlp, (x,)).module()(x), mlp(x))
