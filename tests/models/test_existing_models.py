"""Weights that the existing package (torch-rechub 0.9.0) wrote, for every structure of its models without histories.

The cases are those of benchmarks/compatibility/cases.py; `python -m benchmarks.compatibility --write` renews the files.
"""

from __future__ import annotations

import importlib.util
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from torch_rechub.models import ranking

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("cases", HERE.parents[1] / "benchmarks" / "compatibility" / "cases.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
CASES = module.CASES


def stored(name):
    """The weights of a case, the inputs and the predictions of the existing package."""
    file = load_file(HERE / f"existing_{CASES[name].model.lower()}.safetensors")
    weights = {key.partition("|weight:")[2]: value for key, value in file.items() if key.startswith(f"{name}|weight:")}
    inputs = {key.removeprefix("input:"): value for key, value in file.items() if key.startswith("input:")}
    return weights, inputs, file[f"{name}|prediction"]


def loaded(name, **changes):
    """Our model of a case with the stored weights, the inputs and the stored predictions."""
    weights, inputs, prediction = stored(name)
    model = getattr(ranking, CASES[name].model)(**{**CASES[name].arguments(), **changes}).eval()
    model.load_state_dict(weights, strict=True)
    return model, inputs, prediction


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_existing_weights_load_strictly_and_are_written_again(name):
    """The weights load strictly, and ours have the same keys, shapes, types and bits; but for weights that the existing model lacks."""
    model, _, _ = loaded(name)
    weights, written = stored(name)[0], model.state_dict()
    assert set(written) - set(weights) == (set() if CASES[name].back else {"linear_dense.weight"})
    assert all(written[key].dtype == value.dtype and torch.equal(written[key], value) for key, value in weights.items())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.equal])
@torch.no_grad()
def test_existing_weights_predict_equally(name):
    """The predictions are those of the existing package, to float rounding, and differ from row to row."""
    model, x, prediction = loaded(name)
    close(model(x), prediction)
    assert prediction.std() > 0.01


@torch.no_grad()
def test_afm_of_the_existing_package_has_no_attention():
    """Its prediction is that of weights of 1 for every pair; ours is that of the softmax over the pairs."""
    model, x, prediction = loaded("AFM")
    fields = model.embedding(x, model.features)
    products = [fields[:, i] * fields[:, j] for i, j in combinations(range(4), 2)]
    linear = model.linear(fields.flatten(1)).squeeze(1)
    close(torch.sigmoid(linear + (sum(products) @ model.p).squeeze(1)), prediction)
    scores = torch.stack([torch.relu(model.attention_liner(product)) @ model.h for product in products])  # (P, B, 1)
    pooled = sum(weight * product for weight, product in zip(scores.softmax(dim=0), products, strict=True))
    close(model(x), torch.sigmoid(linear + (pooled @ model.p).squeeze(1)))
    assert (model(x) - prediction).abs().max() > 0.01


@torch.no_grad()
def test_edcn_of_the_existing_package_has_no_regulation():
    """Its prediction is that of a model without regulation; ours weights the fields, whose weights sum to 1."""
    model, x, prediction = loaded("EDCN regulation")
    plain = ranking.EDCN(**CASES["EDCN regulation"].arguments() | {"use_regulation_module": False}).eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if "regulation" not in key})
    close(plain(x), prediction)
    assert (model(x) - prediction).abs().max() > 0.01


@torch.no_grad()
def test_fibinet_of_the_existing_package_drops_dense_columns():
    """Weights of a model with dense columns there are those of ours without: with them, ours has further inputs and refuses the weights."""
    there = CASES["FiBiNet dense"].there()["features"]
    assert any(feature.name == "age" for feature in there)
    model, x, prediction = loaded("FiBiNet dense")
    close(model(x), prediction)
    with pytest.raises(RuntimeError, match=r"size mismatch for mlp.mlp.0.weight"):
        loaded("FiBiNet dense", features=there)


@torch.no_grad()
def test_deepffm_of_the_existing_package_adds_dense_columns_as_they_are():
    """A dense column of the linear part has the weight 1 there, and after its weights were loaded; ours is trained from there."""
    model, x, prediction = loaded("DeepFFM dense")
    close(model(x), prediction)
    close(model.logits({**x, "age": x["age"] + 1}) - model.logits(x), torch.ones(len(prediction)))
    with torch.enable_grad():
        model((x, torch.ones(len(prediction)))).backward()
    assert model.linear_dense.weight.grad.any()
