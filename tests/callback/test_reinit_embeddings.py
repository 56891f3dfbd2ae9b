"""ReinitEmbeddings initialises the embeddings again at each epoch."""

from __future__ import annotations

import pytest
import torch
import zoo
from torch import nn

from torch_rechub import optim
from torch_rechub.basic.callback import Callback, ReinitEmbeddings
from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.initializers import Pretrained
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer

OPTIMIZERS = [optim.Adam, optim.SGD, optim.Adagrad, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adam]


class Edges(Callback):
    """Records the weights and the optimizer's state where epochs end and begin; listed behind ReinitEmbeddings."""

    def __init__(self):
        self.ends, self.begins = [], []

    def _snapshot(self, trainer):
        state = {
            name: {
                key: torch.as_tensor(value).clone() for key, value in trainer.optimizer.state.get(weight, {}).items() if value is not None
            }
            for name, weight in trainer.model.named_parameters()
        }
        return zoo.copy_of(trainer.model.state_dict()), state

    def on_epoch_begin(self, trainer):
        self.begins.append(self._snapshot(trainer))

    def on_epoch_end(self, trainer):
        self.ends.append(self._snapshot(trainer))


def trained(optimizer_fn=optim.Adam, n_epoch=3, val=False, **options):
    edges = Edges()
    callback = ReinitEmbeddings(**options)
    trainer = zoo.trainer(callbacks=[callback, edges], optimizer_fn=optimizer_fn, n_epoch=n_epoch)
    train, validation = zoo.loaders()
    trainer.fit(train, validation if val else None)
    return trainer, edges


def is_embedding(name):
    return "embed_dict" in name


@pytest.mark.parametrize("optimizer_fn", OPTIMIZERS)
def test_reinit_embeddings_changes_the_embeddings_only(optimizer_fn):
    """Between two epochs every embedding gets new numbers of its initializer, and all other weights and buffers keep their bits."""
    _, edges = trained(optimizer_fn)
    assert len(edges.begins) == len(edges.ends) == 3
    for (before, _), (after, _) in zip(edges.ends, edges.begins[1:], strict=False):
        for name in before:
            assert torch.equal(before[name], after[name]) != is_embedding(name), name
    first, second = edges.begins[1][0], edges.begins[2][0]
    tables = [name for name in first if is_embedding(name)]
    assert tables
    for name in tables:
        assert not torch.equal(first[name], second[name])
        assert first[name].abs().max() < 1e-3 < edges.ends[0][0][name].abs().max()  # RandomNormal(0, 1e-4), trained at 0.05
        if "tags" in name:
            assert not first[name][0].any()  # the padding row


@pytest.mark.parametrize("optimizer_fn", OPTIMIZERS)
def test_reinit_embeddings_resets_their_optimizer_state(optimizer_fn):
    """The embeddings' optimizer state is that before the first epoch, or empty, and the state of other weights is unchanged."""
    _, edges = trained(optimizer_fn)
    for (_, before), (_, after) in zip(edges.ends, edges.begins[1:], strict=False):
        for name, state in before.items():
            if "tables" not in name:
                assert all(torch.equal(state[key], after[name][key]) for key in state), name
                continue
            start = edges.begins[0][1][name]
            for key, value in after[name].items():
                assert torch.equal(value, start[key]) if key in start else not value.any(), (name, key)


def test_reinit_embeddings_can_keep_the_optimizer_state():
    """With reset_optimizer=False moments and step count of the embeddings are unchanged."""
    _, edges = trained(torch.optim.RMSprop, reset_optimizer=False)
    for (_, before), (_, after) in zip(edges.ends, edges.begins[1:], strict=False):
        assert all(torch.equal(state[key], after[name][key]) for name, state in before.items() for key in state)


def test_reinit_embeddings_epoch_two_equals_a_first_epoch():
    """The second epoch changes the embeddings as a fresh optimizer does that begins with the same weights."""
    edges = Edges()
    model, train = zoo.plain_model(), list(zoo.loaders()[0].in_order())
    trainer = zoo.trainer(model, callbacks=[ReinitEmbeddings(), edges], n_epoch=2, optimizer_fn=torch.optim.SGD)
    trainer.fit(train)
    twin = zoo.plain_model()
    twin.load_state_dict(edges.begins[1][0])
    zoo.trainer(twin, n_epoch=1, optimizer_fn=torch.optim.SGD).fit(train)
    assert zoo.same(model.state_dict(), twin.state_dict())


def test_reinit_embeddings_changes_neither_epoch_one_nor_the_best_weights():
    """The first epoch is that of a run without it, and after fit the model holds the best validation's weights."""
    plain, edges = zoo.trainer(n_epoch=1), Edges()
    plain.fit(*zoo.loaders())
    trainer = zoo.trainer(callbacks=[ReinitEmbeddings(), edges], n_epoch=3)
    train, val = zoo.loaders()
    history = trainer.fit(train, val)
    assert history[0]["auc"] == plain.history[0]["auc"]
    assert trainer.evaluate(trainer.model, val) == max(history["auc"])


def test_reinit_embeddings_depends_on_the_seed_only():
    """New numbers come from torch's random state only."""
    one, other = trained()[0], trained()[0]
    assert zoo.same(one.model.state_dict(), other.model.state_dict())


class UserModel(nn.Module):
    """A model of the user, with torch's embedding or without one."""

    def __init__(self, embeds):
        super().__init__()
        self.embedding = nn.Embedding(12, 4) if embeds else None
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        rows = x["taste"].repeat(1, 2) if self.embedding is None else self.embedding(x["user"])
        return torch.sigmoid(self.head(rows)).squeeze(1)


def test_reinit_embeddings_initialises_nn_embedding():
    """nn.Embedding is initialised again, and other layers are not."""
    edges = Edges()
    CTRTrainer(UserModel(True), n_epoch=2, model_path=None, progress=False, callbacks=[ReinitEmbeddings(), edges]).fit(zoo.loaders()[0])
    before, after = edges.ends[0][0], edges.begins[1][0]
    assert not torch.equal(before["embedding.weight"], after["embedding.weight"])
    assert torch.equal(before["head.weight"], after["head.weight"])


def test_reinit_embeddings_refuses_a_model_without_embeddings():
    """A model without trainable embeddings is an error."""
    trainer = CTRTrainer(UserModel(False), n_epoch=2, model_path=None, progress=False, callbacks=[ReinitEmbeddings()])
    with pytest.raises(ValueError, match="no trainable embeddings"):
        trainer.fit(zoo.loaders()[0])


def test_reinit_embeddings_restores_pretrained_and_keeps_frozen_ones():
    """A trained pretrained table gets its given weights again, and a frozen one is not changed."""
    given = torch.arange(48.0).view(12, 4) / 48
    user = SparseFeature("user", 12, 4, initializer=Pretrained(given, freeze=False))
    item = SparseFeature("item", 20, 4, initializer=Pretrained(torch.ones(20, 4), freeze=True))
    edges = Edges()
    trainer = zoo.trainer(DeepFM([user, item], [user, item], {"dims": [8]}), callbacks=[ReinitEmbeddings(), edges], n_epoch=2)
    trainer.fit(zoo.loaders()[0])
    key = "embedding.embed_dict.{}.weight"
    assert not torch.equal(edges.ends[0][0][key.format("user")], given)
    assert torch.equal(edges.begins[1][0][key.format("user")], given)
    assert torch.equal(edges.begins[1][0][key.format("item")], torch.ones(20, 4))


def test_table_restart_brings_lagging_rows_up_to_date_first():
    """Rows that lag under a row-wise optimizer are brought up to date before the new numbers are set."""
    layer = EmbeddingLayer([SparseFeature("item", 20, 4)])
    table = layer.table_of("item")
    optimizer = optim.Adam(layer.parameters(), lr=0.1)
    for rows in ([1, 2], [3], [3]):
        optimizer.zero_grad()
        table(torch.tensor(rows)).sum().backward()
        optimizer.step()
    assert not table.owner.settled
    table.restart()
    assert table.owner.settled
    assert table.weight.abs().max() < 1e-3
