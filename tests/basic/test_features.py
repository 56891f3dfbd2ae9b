"""Features may be assigned, with the checks of their constructor, until a layer uses them."""

import copy
import dataclasses
import pickle

import pytest
import torch
import zoo

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature, get_auto_embedding_dim
from torch_rechub.basic.initializers import Pretrained, RandomUniform
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.models.ranking import DeepFM

MAKE = {
    "dense": lambda: DenseFeature("age"),
    "sparse": lambda: SparseFeature("user", 12, 4),
    "sequence": lambda: SequenceFeature("tags", 6, 4, padding_idx=0),
}
VALUES = {
    "name": "other",
    "vocab_size": 30,
    "embed_dim": 8,
    "pooling": "sum",
    "shared_with": "item",
    "padding_idx": 1,
    "initializer": RandomUniform(),
}


@pytest.mark.parametrize("kind", MAKE)
def test_an_assigned_feature_is_one_made_so(kind):
    """Each field that is assigned gives the feature that the constructor makes of the same values."""
    for field in dataclasses.fields(MAKE[kind]()):
        feature = MAKE[kind]()
        setattr(feature, field.name, VALUES[field.name])
        assert feature == dataclasses.replace(MAKE[kind](), **{field.name: VALUES[field.name]})
        assert feature != MAKE[kind]()


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        ("dense", "embed_dim", 0, r"DenseFeature 'age': embed_dim must be a whole number >= 1; got 0"),
        ("sparse", "name", "", r"name must be a non-empty string"),
        ("sparse", "vocab_size", 2.5, r"SparseFeature 'user': vocab_size must be a whole number >= 1; got 2.5"),
        ("sequence", "vocab_size", 0, r"vocab_size must be"),
        ("sequence", "padding_idx", 6, r"padding_idx must be >= 0 and < vocab_size=6; got 6"),
        ("sequence", "pooling", "max", r"pooling must be one of \['mean', 'sum', 'concat'\]; got 'max'"),
    ],
)
def test_a_wrong_value_is_refused_as_by_the_constructor(kind, field, value, message):
    """The error is that of the constructor, and the feature keeps its value."""
    feature = MAKE[kind]()
    for attempt in (lambda: setattr(feature, field, value), lambda: dataclasses.replace(feature, **{field: value})):
        with pytest.raises((ValueError, TypeError), match=message):
            attempt()
        assert feature == MAKE[kind]()


def test_an_automatic_width_follows_the_vocabulary():
    """A width that was not given is computed of the new vocabulary; one that was given or assigned stays."""
    automatic, given = SparseFeature("user", 10), SparseFeature("user", 10, 4)
    automatic.padding_idx = 0
    automatic.vocab_size = given.vocab_size = 1000
    assert (automatic.embed_dim, given.embed_dim) == (get_auto_embedding_dim(1000), 4)
    given.embed_dim = None
    assert given.embed_dim == get_auto_embedding_dim(1000)
    automatic.embed_dim = 8
    automatic.vocab_size = 20
    assert automatic.embed_dim == 8


def test_a_model_reads_what_was_assigned():
    """A model of features that were assigned before has their sizes, and equals one of features made so."""
    assigned, made = [SparseFeature("user", 3), SparseFeature("item", 3)], [SparseFeature("user", 12, 8), SparseFeature("item", 20, 8)]
    for feature, size in zip(assigned, (12, 20), strict=True):
        feature.vocab_size, feature.embed_dim = size, 8
    weights = []
    for features in (assigned, made):
        torch.manual_seed(0)
        weights.append(DeepFM(features, features, {"dims": [4]}).state_dict())
    assert zoo.same(*weights)


def every_kind():
    return [DenseFeature("age"), SparseFeature("item", 12, 4), SequenceFeature("tags", 12, 4, shared_with="item")]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_feature_of_a_layer_is_refused_with_the_way_out(place):
    """Once a layer uses a feature, no field can be assigned, also after a copy of the layer; the error says how to make another one."""
    features = every_kind()
    layer = EmbeddingLayer(features)
    for owner in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        feature = owner.features[place]
        with pytest.raises(AttributeError, match=r"embed_dim cannot be set to 8, because a layer uses .*dataclasses.replace\(feature, emb"):
            feature.embed_dim = 8
        assert feature == every_kind()[place]
    dataclasses.replace(features[place], embed_dim=8).embed_dim = 2


def test_features_that_were_checked_or_gave_an_embedding_are_in_use():
    """A module of the user's own that makes its layers of a feature, or reads checked data, holds its sizes as well."""
    feature = SparseFeature("user", 12, 4)
    assert feature.get_embedding_layer().weight.shape == (12, 4)
    with pytest.raises(AttributeError, match="a layer uses the feature"):
        feature.vocab_size = 13

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.linear = [DenseFeature("age")], torch.nn.Linear(1, 1)

        def forward(self, x):
            return torch.sigmoid(self.linear(x["age"][:, None])[:, 0])

    model = Own()
    zoo.trainer(model, n_epoch=1).fit(*zoo.loaders())
    with pytest.raises(AttributeError, match="a layer uses the feature"):
        model.features[0].embed_dim = 2


def test_attributes_of_the_users_own_may_be_assigned_at_any_time():
    """An attribute that is no field is kept and changes neither equality nor the model."""
    features = every_kind()
    EmbeddingLayer(features)
    for feature, same in zip(features, every_kind(), strict=True):
        feature.group = "of the user"
        assert feature.group == "of the user"
        assert feature == same


def test_features_are_equal_by_their_values():
    """Equal values of one class are equal and have one hash, which an assignment of a size does not change."""
    for make in MAKE.values():
        feature = make()
        by_feature = {feature: "found"}
        assert feature == make()
        assert hash(feature) == hash(make())
        feature.embed_dim = 2
        assert by_feature[feature] == "found"
        assert feature != make()
    assert SparseFeature("tags", 6, 4, padding_idx=0) != SequenceFeature("tags", 6, 4, padding_idx=0)
    table = Pretrained(torch.ones(12, 4))
    feature = SparseFeature("user", 12, 4, initializer=table)
    assert feature == SparseFeature("user", 12, 4, initializer=table)
