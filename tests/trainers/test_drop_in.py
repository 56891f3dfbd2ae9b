"""Scripts of the existing Torch-RecHub package run unchanged."""

import logging

import numpy as np
import pytest
import torch
import zoo
from torch.utils.data import DataLoader, Subset

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.basic.layers import EmbeddingLayer, InputMask
from torch_rechub.data import Table
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator

SPARSE = [SparseFeature("a", 10, 4), SparseFeature("b", 10, 4)]


def trainer_of(model: torch.nn.Module, n_epoch: int = 1, **options) -> CTRTrainer:
    return CTRTrainer(model, n_epoch=n_epoch, model_path=None, progress=False, **options)


def scaled_columns(name: str, n: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.random(n).round(2), f"{name}_cat": rng.integers(0, 5, n)}


def test_a_dense_and_a_sparse_feature_read_one_column(caplog):
    """The sparse feature reads the whole parts of the column, as there; a warning says so once."""
    x = scaled_columns("price")
    sparse = [SparseFeature("price", len(np.unique(x["price"])), 4), SparseFeature("price_cat", 5, 4)]
    torch.manual_seed(0)
    model = DeepFM([DenseFeature("price")], sparse, {"dims": [4]}).eval()
    train_dl, *_ = DataGenerator(x, (x["price"] > 0.5).astype(int)).generate_dataloader(split_ratio=[0.5, 0.2], batch_size=16)
    with caplog.at_level(logging.WARNING):
        trainer_of(model).fit(train_dl, train_dl)
    assert caplog.text.count("SparseFeature 'price': the column holds fractions, of which the whole parts are the ids") == 1
    rows = {name: torch.from_numpy(column) for name, column in x.items()}
    embedded = model.embedding(rows, [*sparse, DenseFeature("price")], squeeze_dim=True)
    assert torch.equal(embedded[:, :4], model.embedding.embed_dict["price"].weight[rows["price"].long()])
    assert torch.equal(embedded[:, 8], rows["price"].float())


def test_a_dense_and_a_sparse_feature_of_one_integer_column_agree_with_a_plain_dict():
    """Packed and plain batches give the same predictions, and ids beyond the vocabulary are still refused."""
    x = {"n": np.arange(6), "m": np.arange(6)}
    features = [SparseFeature("n", 6, 4), SparseFeature("m", 6, 4)]
    model = DeepFM([DenseFeature("n"), *features], features, {"dims": [4]}).eval()
    packed = Table.from_columns(x).x
    plain = {name: torch.from_numpy(column) for name, column in x.items()}
    assert torch.equal(model(packed), model(plain))
    with pytest.raises(ValueError, match=r"SparseFeature 'n': ids must be < vocab_size=6; got 6"):
        model({"n": torch.tensor([6.5]), "m": torch.tensor([0])})
    with pytest.raises(ValueError, match=r"must be whole numbers; got 0.5"):  # no dense feature reads it
        model({"n": torch.tensor([1.0]), "m": torch.tensor([0.5])})


def test_two_embedded_features_of_one_name_are_refused():
    """A second table of the same name would be ignored."""
    with pytest.raises(ValueError, match="Two different features are named 'a'"):
        EmbeddingLayer([SPARSE[0], SparseFeature("a", 11, 4)])


@pytest.mark.parametrize("shape", [(3, 1), (3, 2)])
def test_ids_of_several_columns_are_embedded_as_there(shape):
    """``(B, L)`` ids of sparse features give ``(B, F, L, D)``, and ``(B, F * L * D)`` flat: the naive lookup of each id."""
    layer = EmbeddingLayer([*SPARSE, SparseFeature("c", 10, 4, shared_with="a"), SparseFeature("wide", 10, 8)])
    x = {name: torch.randint(0, 10, shape) for name in ("a", "b", "c", "wide")}
    features = layer.features[:3]
    expected = torch.stack([layer.embed_dict[f.table_name].weight[x[f.name]] for f in features], 1)
    assert torch.equal(layer(x, features), expected)
    flat = layer(x, layer.features, squeeze_dim=True)
    assert torch.equal(flat, torch.cat([expected.flatten(1), layer.embed_dict["wide"].weight[x["wide"]].flatten(1)], 1))
    with pytest.raises(ValueError, match=r"must have ids of one shape; got \{'a': \(3, .\), 'b': \(3,\), 'c'"):
        layer({**x, "b": x["b"][:, 0]}, features)
    with pytest.raises(ValueError, match="ids must be < vocab_size=10"):
        layer({**x, "b": x["b"] + 10}, features)


@pytest.mark.parametrize("hooked", [False, True])
def test_ids_in_a_column_of_width_one_are_one_id_a_row(hooked):
    """DeepFM gives the same predictions for ids ``(B, 1)`` and ``(B,)``, and refuses ``(B, 2)``."""
    model = DeepFM(SPARSE, SPARSE, {"dims": [4]}).eval()
    if hooked:
        model.embedding.register_forward_hook(lambda *_: None)
    x = {name: torch.randint(0, 10, (5,)) for name in "ab"}
    assert torch.equal(model({name: ids[:, None] for name, ids in x.items()}), model(x))
    if not hooked:
        with pytest.raises(ValueError, match=r"SparseFeature 'a': must be one id a row"):
            model({name: ids[:, None].expand(5, 2) for name, ids in x.items()})


def test_embedding_layer_has_an_input_mask_without_weights():
    """``layer.input_mask(x, features)`` is the mask of the ids; the ``state_dict`` has the keys of the tables only."""
    clicks = SequenceFeature("clicks", 9, 4, padding_idx=0)
    layer = EmbeddingLayer([clicks])
    assert isinstance(layer.input_mask, InputMask)
    assert layer.input_mask({"clicks": torch.tensor([[5, 0]])}, clicks).tolist() == [[[1.0, 0.0]]]
    assert list(layer.state_dict()) == ["embed_dict.clicks.weight"]


def test_a_torch_loader_of_our_data_set_trains():
    """``DataLoader(train_dl.dataset, 64, shuffle=True)`` yields the rows of the table, also through a ``Subset``."""
    train_dl, val_dl = zoo.loaders()
    rows = train_dl.dataset
    x, y = next(iter(DataLoader(rows, 5)))
    ours, labels = rows.batch(torch.arange(5))
    assert torch.equal(y, labels)
    assert all(torch.equal(x[name], ours[name]) for name in ours)
    history = trainer_of(zoo.RECIPES["DeepFM"]()).fit(DataLoader(Subset(rows, range(48)), 16, shuffle=True), val_dl)
    assert history[-1]["step"] == 3
    assert torch.equal(rows.take([3, 1]).y, rows.y[[3, 1]])


def test_early_stopper_takes_mode_by_place():
    """``EarlyStopper(2, "min")`` keeps the smallest value."""
    stopper = EarlyStopper(2, "min")
    assert [stopper.stop_training(loss, {"w": loss}) for loss in (0.5, 0.4, 0.6, 0.4)] == [False, False, False, True]
    assert stopper.best_weights == {"w": 0.4}
    with pytest.raises(ValueError, match="mode must be 'max' or 'min'; got 'lower'"):
        EarlyStopper(2, "lower")
