"""EmbeddingLayer, compared with one nn.Embedding per feature."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from torch_rechub.basic.batch.packed import PackedFeatures
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.basic.initializers import Pretrained, RandomNormal
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.data import Table

LENGTH = 3
START = RandomNormal(0, 1.0)


@st.composite
def feature_lists(draw):
    """Sparse features, sequences of each pooling and dense columns, in any order; some share tables, some have padding."""
    features, owners = [], []
    for i in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["sparse", "sequence", "dense"]))
        if kind == "dense":
            features.append(DenseFeature(f"f{i}", draw(st.sampled_from([1, 1, 3]))))
            continue
        owner = draw(st.sampled_from([None, *owners]))
        vocab_size, width = (draw(st.integers(1, 9)), draw(st.integers(1, 3))) if owner is None else (owner.vocab_size, owner.embed_dim)
        options = {"shared_with": None if owner is None else owner.name, "initializer": START}
        options["padding_idx"] = draw(st.one_of(st.none(), st.integers(0, vocab_size - 1)))
        if kind == "sparse":
            feature = SparseFeature(f"f{i}", vocab_size, width, **options)
        else:
            feature = SequenceFeature(f"f{i}", vocab_size, width, draw(st.sampled_from(["mean", "sum", "concat"])), **options)
        features.append(feature)
        owners += [feature] if owner is None else []
    return features


def column_of(feature, n, generator):
    if isinstance(feature, DenseFeature):
        column = torch.randn(n, feature.embed_dim, generator=generator)
        return column[:, 0] if feature.embed_dim == 1 else column
    shape = (n, LENGTH) if isinstance(feature, SequenceFeature) else (n,)
    return torch.randint(feature.vocab_size, shape, generator=generator)


def naive(feature, column, tables):
    """The embedding of one feature, (B, D), or (B, L, D) for concat, in a loop over rows and ids."""
    table = tables[feature.table_name]
    if isinstance(feature, SparseFeature):
        return torch.stack([table(i) for i in column])
    rows = []
    for ids in column:
        vectors = [table(i) for i in ids]
        if feature.pooling == "concat":
            rows.append(torch.stack(vectors))
            continue
        pooled = [vector for i, vector in zip(ids, vectors, strict=True) if feature.padding_idx is None or i != feature.padding_idx]
        total = sum(pooled, torch.zeros(feature.embed_dim))
        rows.append(total / max(len(pooled), 1) if feature.pooling == "mean" else total)
    return torch.stack(rows)


def naive_tables(layer, features):
    owners = {f.name: f for f in features if not isinstance(f, DenseFeature) and f.shared_with is None}
    return {
        name: nn.Embedding.from_pretrained(layer.embed_dict[name].weight.detach().clone(), freeze=False, padding_idx=f.padding_idx)
        for name, f in owners.items()
    }


def both_inputs(features, n, seed):
    generator = torch.Generator().manual_seed(seed)
    plain = {feature.name: column_of(feature, n, generator) for feature in features}
    return plain, Table.from_columns(plain).x


@settings(max_examples=60)
@given(feature_lists(), st.integers(1, 4), st.integers(0, 99), st.randoms(use_true_random=False))
def test_embedding_equals_one_table_per_feature(features, n, seed, random):
    """Values and gradients are equal for packed features and a dict, any widths, poolings, sharing and padding, in any order."""
    torch.manual_seed(seed)
    layer = EmbeddingLayer(features)
    requested = random.sample(features, random.randint(1, len(features)))
    tables = naive_tables(layer, features)
    plain, packed = both_inputs(features, n, seed)
    assert isinstance(packed, PackedFeatures)
    embedded = [naive(f, plain[f.name], tables).flatten(1) for f in requested if not isinstance(f, DenseFeature)]
    dense = [plain[f.name].reshape(n, -1) for f in requested if isinstance(f, DenseFeature)]
    expected = torch.cat([*embedded, *dense], dim=1)
    factor = torch.randn(expected.shape)
    if expected.requires_grad:  # False if every id is padding
        (expected * factor).sum().backward()
    for x in (plain, packed):
        output = layer(x, requested, squeeze_dim=True)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
        if not embedded:
            continue
        layer.zero_grad()
        (output * factor).sum().backward()
        for name, table in tables.items():
            fused = layer.table_of(name)
            grad = torch.zeros_like(fused.weight) if fused.weight.grad is None else fused.weight.grad
            expected_grad = torch.zeros_like(table.weight) if table.weight.grad is None else table.weight.grad
            torch.testing.assert_close(grad[fused.slices[name]], expected_grad, rtol=1e-5, atol=1e-6)


@settings(max_examples=30)
@given(feature_lists(), st.integers(0, 99))
def test_embedding_without_squeeze_has_one_row_per_feature(features, seed):
    """The output is (B, F, D) in the requested order; features that cannot be stacked raise an error that names squeeze_dim."""
    torch.manual_seed(seed)
    layer = EmbeddingLayer(features)
    tables = naive_tables(layer, features)
    plain, packed = both_inputs(features, 3, seed)
    requested = [f for f in features if not isinstance(f, DenseFeature)]
    shapes = {(f.embed_dim, getattr(f, "pooling", "") == "concat") for f in requested}
    for x in (plain, packed):
        if len(shapes) == 1:
            expected = torch.stack([naive(f, plain[f.name], tables) for f in requested], dim=1)
            torch.testing.assert_close(layer(x, requested), expected, rtol=1e-5, atol=1e-6)
        else:
            with pytest.raises(ValueError, match="squeeze_dim=True"):
                layer(x, requested)


USER, ITEM = SparseFeature("user", 5, 2, initializer=START), SparseFeature("item", 7, 2, initializer=START)
WIDE, CLICKS = SparseFeature("wide", 4, 3), SequenceFeature("clicks", 7, 2, shared_with="item", padding_idx=0)
FEATURES = [USER, DenseFeature("age"), ITEM, WIDE, CLICKS]
X = {
    "user": torch.tensor([4, 0]),
    "item": torch.tensor([6, 1]),
    "wide": torch.tensor([3, 3]),
    "clicks": torch.tensor([[1, 2, 0], [0, 0, 0]]),
    "age": torch.tensor([0.5, 1.0]),
}


def test_embedding_one_feature_alone_and_a_feature_twice():
    """A single feature needs no list, and a feature that is listed twice is in the output twice."""
    layer = EmbeddingLayer([*FEATURES, USER])
    assert torch.equal(layer(X, USER), layer.embed_dict["user"].weight[X["user"]].unsqueeze(1))
    twice = layer(X, [USER, ITEM, USER], squeeze_dim=True)
    assert torch.equal(twice[:, :2], twice[:, 4:])


def test_embedding_state_has_one_key_per_feature():
    """state_dict has the key embed_dict.<name>.weight for every feature that is not shared, and no other key."""
    state = EmbeddingLayer(FEATURES).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "embed_dict.user.weight": (5, 2),
        "embed_dict.item.weight": (7, 2),
        "embed_dict.wide.weight": (4, 3),
    }


def test_embedding_state_loads_bit_for_bit():
    """A layer loads the state of another layer with the same features, with any prefix."""
    holder, other = nn.ModuleDict({"embedding": EmbeddingLayer(FEATURES)}), nn.ModuleDict({"embedding": EmbeddingLayer(FEATURES)})
    other.load_state_dict(holder.state_dict())
    assert torch.equal(other["embedding"](X, FEATURES, True), holder["embedding"](X, FEATURES, True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("embed_dict.item.weight"), r"Missing key\(s\).*embed_dict\.item\.weight"),
        (lambda state: state.update({"embed_dict.new.weight": torch.zeros(2)}), r"Unexpected key\(s\).*embed_dict\.new\.weight"),
        (lambda state: state.update({"tables.dim2.weight": torch.zeros(2)}), r"Unexpected key\(s\).*tables\.dim2\.weight"),
        (lambda state: state.update({"embed_dict.item.weight": torch.zeros(8, 2)}), r"size mismatch.*item.*\(8, 2\).*\(7, 2\)"),
    ],
)
def test_embedding_load_is_strict(change, message):
    """A missing key, an unknown key or a weight of another size raises the error of torch."""
    layer = EmbeddingLayer(FEATURES)
    state = dict(layer.state_dict())
    change(state)
    with pytest.raises(RuntimeError, match=f"(?s){message}"):
        layer.load_state_dict(state)


def test_embedding_load_without_strictness_returns_the_other_keys():
    """strict=False loads the matching keys and returns the names of the others."""
    layer = EmbeddingLayer(FEATURES)
    result = layer.load_state_dict({"embed_dict.user.weight": torch.ones(5, 2), "other": torch.zeros(1)}, strict=False)
    assert sorted(result.missing_keys) == ["embed_dict.item.weight", "embed_dict.wide.weight"]
    assert result.unexpected_keys == ["other"]
    assert (layer.embed_dict["user"].weight == 1).all()


def test_two_models_never_share_weights():
    """Two layers from one list of features have separate weights, even if the initializer stores given weights."""
    given_weights = torch.randn(5, 2)
    features = [SparseFeature("user", 5, 2, initializer=Pretrained(given_weights, freeze=False))]
    one, other = EmbeddingLayer(features), EmbeddingLayer(features)
    with torch.no_grad():
        one.embed_dict["user"].weight.zero_()
    assert torch.equal(other.embed_dict["user"].weight, given_weights)
    assert torch.equal(EmbeddingLayer(features).embed_dict["user"].weight, given_weights)


def copies(layer):
    return {
        "deepcopy": copy.deepcopy(layer),
        "pickle": pickle.loads(pickle.dumps(layer)),
        "double": copy.deepcopy(layer).double().float(),
        "to": copy.deepcopy(layer).to("cpu", torch.float64).float(),
    }


@pytest.mark.parametrize("kind", ["deepcopy", "pickle", "double", "to"])
def test_an_embedding_copy_is_equal_and_separate(kind):
    """A copy of a used layer has its own tables: a write into one layer does not change the other."""
    layer = EmbeddingLayer(FEATURES)
    before = layer(X, FEATURES, squeeze_dim=True)
    copied = copies(layer)[kind]
    assert torch.equal(copied(X, FEATURES, squeeze_dim=True), before)
    with torch.no_grad():
        copied.embed_dict["user"].weight.zero_()
    assert torch.equal(layer(X, FEATURES, squeeze_dim=True), before)
    assert not copied(X, USER, squeeze_dim=True).any()
    copied(X, FEATURES, squeeze_dim=True).sum().backward()
    assert all(parameter.grad is None for parameter in layer.parameters())
    assert all(parameter.grad is not None for parameter in copied.parameters())


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_table_is_not_trained(frozen):
    """Frozen pretrained weights do not change, even with weight decay; with freeze=False, and in other features, they do."""
    given_weights = torch.randn(5, 2)
    features = [SparseFeature("user", 5, 2, initializer=Pretrained(given_weights, freeze=frozen)), ITEM]
    layer = EmbeddingLayer(features)
    before = layer.embed_dict["item"].weight.detach().clone()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1)
    layer(X, features, squeeze_dim=True).sum().backward()
    optimizer.step()
    assert torch.equal(layer.embed_dict["user"].weight, given_weights) is frozen
    assert not torch.equal(layer.embed_dict["item"].weight, before)
    assert sorted(layer.state_dict()) == ["embed_dict.item.weight", "embed_dict.user.weight"]


def test_embed_dict_reads_and_writes_the_table():
    """embed_dict[name].weight is the current table, and the layer reads the values that are written to it."""
    layer = EmbeddingLayer(FEATURES)
    for write in (lambda w: w.data.fill_(2.0), lambda w: nn.init.constant_(w, 2.0), lambda w: w.data.copy_(torch.full((5, 2), 2.0))):
        write(layer.embed_dict["user"].weight)
        assert (layer(X, USER, squeeze_dim=True) == 2).all()
        nn.init.zeros_(layer.embed_dict["user"].weight)
    part = layer.embed_dict["item"]
    assert (part.num_embeddings, part.embedding_dim) == (7, 2)
    assert torch.equal(part(torch.tensor([[6], [0]])), part.weight[[6, 0]].unsqueeze(1))
    with pytest.raises(ValueError, match=r"Embedding 'item': ids must be >= 0 and < 7; got 0 to 7"):
        part(torch.tensor([0, 7]))
    assert list(layer.embed_dict) == ["user", "item", "wide"]


def test_padding_is_zero_and_is_not_trained():
    """The padding row is zero and has no gradient."""
    padded = SequenceFeature("tags", 4, 2, "sum", padding_idx=1, initializer=START)
    layer = EmbeddingLayer([padded])
    assert not layer.embed_dict["tags"].weight[1].any()
    layer({"tags": torch.tensor([[1, 1, 2]])}, padded).sum().backward()
    assert torch.equal(layer.table_of("tags").weight.grad, torch.tensor([[0.0, 0], [0, 0], [1, 1], [0, 0]]))


def test_contradictory_features_are_refused():
    """Two features with one name, an unknown shared_with and a shared table of another shape raise errors."""
    with pytest.raises(ValueError, match="Two different features are named 'user'"):
        EmbeddingLayer([USER, SparseFeature("user", 6, 2)])
    with pytest.raises(ValueError, match="shared_with='item' must name a feature with a table of its own"):
        EmbeddingLayer([USER, CLICKS])
    with pytest.raises(ValueError, match="vocab_size and embed_dim must be equal"):
        EmbeddingLayer([SparseFeature("item", 8, 2), CLICKS])
    with pytest.raises(ValueError, match="feature 'wide' has no table"):
        EmbeddingLayer([USER])(X, [WIDE])
    with pytest.raises(ValueError, match="must not be empty"):
        EmbeddingLayer([USER])(X, [], squeeze_dim=True)


def test_the_cache_for_new_feature_objects_is_bounded():
    """New but equal feature objects give the same output at every step, and the cache of lookup plans is bounded."""
    layer = EmbeddingLayer(FEATURES)
    expected = layer(X, [USER, ITEM])
    for _ in range(200):
        new_objects = [SparseFeature("user", 5, 2, initializer=START), SparseFeature("item", 7, 2, initializer=START)]
        assert torch.equal(layer(X, new_objects), expected)
    assert len(layer._plans) <= 64
