"""Weights are loaded into a model with the same order of columns only."""

from __future__ import annotations

import copy

import pytest
import torch
from test_embedding import START, USER, X
from torch import nn

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.models.ranking import DeepFM
from torch_rechub.storage.files import save_weights


def model_of(*deep, fm=None):
    return DeepFM(list(deep), [f for f in deep if not isinstance(f, DenseFeature)] if fm is None else fm, {"dims": [4]})


AGE, PRICE = DenseFeature("age"), DenseFeature("price")
TWIN = SparseFeature("twin", 5, 2, initializer=START)
SAME_ORDER = [
    ([USER, TWIN, AGE, PRICE], None),
    ([AGE, USER, PRICE, TWIN], None),  # dense columns follow embedded columns, whatever their position in the list
]
OTHER_ORDER = [
    ([TWIN, USER, AGE, PRICE], None),
    ([USER, TWIN, PRICE, AGE], None),
    ([USER, TWIN, AGE, PRICE], [TWIN, USER]),
    ([USER, TWIN, AGE, DenseFeature("income")], None),
]


def through_a_file(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    return torch.load(tmp_path / "w.pth", weights_only=True)


def through_save_weights(state, tmp_path):
    save_weights(tmp_path / "w.pth", state)
    return torch.load(tmp_path / "w.pth", weights_only=True)


WAYS = {"memory": lambda state, _: state, "deepcopy": lambda state, _: copy.deepcopy(state)}
WAYS |= {"torch.save": through_a_file, "save_weights": through_save_weights}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("deep", "fm"), OTHER_ORDER)
def test_weights_of_another_column_order_are_refused(way, deep, fm, tmp_path):
    """Two models of equal shapes whose columns are in another order refuse each other's weights and name both orders."""
    one, other = model_of(USER, TWIN, AGE, PRICE), model_of(*deep, fm=fm)
    assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in other.state_dict().items()}
    for source, target in ((one, other), (other, one)):
        with pytest.raises(RuntimeError, match="same features in the same order") as error:
            target.load_state_dict(WAYS[way](source.state_dict(), tmp_path))
        for model in (source, target):
            assert str([f.name for f in model.features if not isinstance(f, DenseFeature)]) in str(error.value)
            assert str([f.name for f in model.features if isinstance(f, DenseFeature)]) in str(error.value)
        with pytest.raises(RuntimeError, match="same features in the same order"):
            target.load_state_dict(WAYS[way](source.state_dict(), tmp_path), strict=False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("deep", "fm"), SAME_ORDER)
def test_weights_of_the_same_column_order_load(way, deep, fm, tmp_path):
    """The same order loads through every way of saving, and the predictions are the same."""
    one, other = model_of(USER, TWIN, AGE, PRICE).eval(), model_of(*deep, fm=fm).eval()
    other.load_state_dict(WAYS[way](one.state_dict(), tmp_path))
    x = {"user": X["user"], "twin": X["user"].flip(0), "age": X["age"], "price": X["age"].flip(0)}
    assert torch.equal(one(x), other(x))


def test_weights_without_an_order_load_unchecked(tmp_path):
    """A plain dict loads, like weights of the existing package; a module that does not use the order loads a file that has it."""
    one, other = model_of(USER, TWIN), model_of(TWIN, USER)
    other.load_state_dict(dict(one.state_dict()))
    save_weights(tmp_path / "plain.pth", dict(one.state_dict()))
    other.load_state_dict(torch.load(tmp_path / "plain.pth", weights_only=True))
    plain = nn.ModuleDict({"embed_dict": nn.ModuleDict({"user": nn.Embedding(5, 2), "twin": nn.Embedding(5, 2)})})
    plain.load_state_dict(through_save_weights(other.embedding.state_dict(), tmp_path))
    assert torch.equal(plain["embed_dict"]["user"].weight, one.embedding.embed_dict["user"].weight)


def test_an_embedding_layer_alone_takes_any_order():
    """Embeddings are stored by name, so a layer that is loaded alone accepts every order of its features."""
    one, other = EmbeddingLayer([USER, TWIN]), EmbeddingLayer([TWIN, USER])
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(X | {"twin": X["user"]}, [USER, TWIN]), one(X | {"twin": X["user"]}, [USER, TWIN]))
