"""Weights of DIN, DIEN and BST that the existing package wrote. `python -m benchmarks.compatibility --write` renews the file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.compatibility.histories import build, dice_of_rows
from torch_rechub.basic.activation import Dice

STORED = load_file(Path(__file__).with_name("existing_histories.safetensors"))
MODELS = ["BST", "DIEN", "DIN"]


def stored(name, kind):
    prefix = f"{name}:{kind}:"
    return {key.removeprefix(prefix): tensor for key, tensor in STORED.items() if key.startswith(prefix)}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    """A model with the weights of the existing package, in evaluation; with its Dice, which is another function (docs/en/migration.md)."""
    model = build()[name]
    model.load_state_dict(stored(name, "weight"), strict=True)
    return model.eval()


def test_existing_weights_predict_equally(name, model, monkeypatch):
    """Strictly loaded weights give the existing package's predictions, to rounding; with its Dice, and in DIN without padding."""
    monkeypatch.setattr(Dice, "forward", dice_of_rows)
    with torch.no_grad():
        torch.testing.assert_close(model(stored(name, "input")), STORED[f"{name}:prediction"], rtol=1e-5, atol=1e-6)
    assert STORED[f"{name}:prediction"].std() > 0.05


def test_existing_package_can_load_our_weights(name, model):
    """Our state_dict has exactly the existing package's keys, shapes and types, and the values that were loaded."""
    expected, written = stored(name, "weight"), model.state_dict()
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[key], tensor) and written[key].dtype == tensor.dtype for key, tensor in expected.items())


def test_padding_and_dice_are_the_only_differences(name, model):
    """Without its Dice predictions of DIN and DIEN differ; those of BST, whose activation is ReLU, do not."""
    with torch.no_grad():
        same = torch.allclose(model(stored(name, "input")), STORED[f"{name}:prediction"], rtol=1e-5, atol=1e-6)
    assert same == (name == "BST")
