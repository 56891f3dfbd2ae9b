"""Weights that the existing package (torch-rechub 0.9.0) wrote. `python -m benchmarks.compatibility --write` renews the file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DeepFM

STORED = load_file(Path(__file__).with_name("existing_deepfm.safetensors"))
WEIGHTS = {name.removeprefix("weight:"): tensor for name, tensor in STORED.items() if name.startswith("weight:")}
INPUTS = {name.removeprefix("input:"): tensor for name, tensor in STORED.items() if name.startswith("input:")}


@pytest.fixture
def model():
    """The model of benchmarks/compatibility/deepfm.py: every kind of feature, and dense columns between the others."""
    user = SparseFeature("user", vocab_size=30, embed_dim=8)
    item = SparseFeature("item", vocab_size=20, embed_dim=8, padding_idx=0)
    previous = SparseFeature("previous", vocab_size=20, embed_dim=8, shared_with="item", padding_idx=0)
    clicks = SequenceFeature("clicks", vocab_size=20, embed_dim=8, pooling="mean", shared_with="item", padding_idx=0)
    tags = SequenceFeature("tags", vocab_size=12, embed_dim=8, pooling="sum", padding_idx=0)
    words = SequenceFeature("words", vocab_size=9, embed_dim=8, pooling="mean")
    city = SparseFeature("city", vocab_size=7, embed_dim=8)
    deep = [DenseFeature("age"), user, tags, city, item, DenseFeature("price"), clicks, words, previous]
    return DeepFM(deep_features=deep, fm_features=[item, user, clicks, tags], mlp_params={"dims": [16, 8], "dropout": 0.2})


def test_existing_weights_predict_equally(model):
    """The existing package's weights load strictly and give its predictions, to float rounding."""
    model.load_state_dict(WEIGHTS, strict=True)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(INPUTS), STORED["prediction"], rtol=1e-5, atol=1e-6)


def test_existing_package_can_load_our_weights(model):
    """Our state_dict has exactly the existing package's keys, shapes and types."""
    kinds = {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}
    assert kinds == {name: (tensor.shape, tensor.dtype) for name, tensor in WEIGHTS.items()}


def test_existing_weights_survive_a_round_trip(model):
    """The weights that were loaded are written again bit for bit."""
    model.load_state_dict(WEIGHTS, strict=True)
    written = model.state_dict()
    assert all(torch.equal(written[name], tensor) for name, tensor in WEIGHTS.items())


def test_existing_predictions_differ_from_row_to_row():
    """The stored predictions differ, so that a column read in the wrong position is noticed."""
    assert STORED["prediction"].std() > 0.05
    assert len(STORED["prediction"].unique()) == len(STORED["prediction"])
