"""fit gives the same from the same seeds, starts anew each time, and equals a hand-written loop."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import zoo
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from torch_rechub.basic.callback import Callback, EarlyStopper
from torch_rechub.data import TorchDataset
from torch_rechub.trainers import evaluate, train_one_epoch


def facts(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def test_fit_twice_from_the_same_seeds_gives_identical_bits(tmp_path):
    """With the same model, data and seeds every recorded number and every weight is equal bit for bit."""

    def once(folder):
        trainer = zoo.trainer(model_path=tmp_path / folder)
        history = trainer.fit(*zoo.loaders())
        return facts(history), zoo.copy_of(trainer.model.state_dict()), (tmp_path / folder / "model.pth").read_bytes()

    first, second = once("a"), once("b")
    assert first[0] == second[0]
    assert zoo.same(first[1], second[1])
    assert first[2] == second[2]


def test_a_second_fit_starts_anew_from_the_present_weights():
    """A second fit equals the first fit of a fresh trainer around the same weights."""
    options = {"scheduler_fn": torch.optim.lr_scheduler.StepLR, "scheduler_params": {"step_size": 1, "gamma": 0.5}}
    train, val = zoo.loaders()
    batches = list(train)  # in the same order at every epoch
    trainer = zoo.trainer(**options)
    trainer.fit(batches, val)
    twin = zoo.trainer(copy.deepcopy(trainer.model), **options)
    torch.manual_seed(5)
    again = trainer.fit(batches, val)
    torch.manual_seed(5)
    fresh = twin.fit(batches, val)
    assert facts(again) == facts(fresh)
    assert again["lr"] == [0.05, 0.025, 0.0125]
    assert zoo.same(trainer.model.state_dict(), twin.model.state_dict())
    assert trainer.early_stopper.decisions == twin.early_stopper.decisions


class Orders(Callback):
    """Stores the users of each batch."""

    def __init__(self):
        self.users = []

    def on_batch_begin(self, trainer):
        self.users.append(trainer.state.current_batch.x["user"].tolist())


def test_a_second_fit_continues_the_order_of_the_data():
    """Two fits of two epochs read the batches of one fit of four epochs; another trainer on the same loader starts at epoch 0."""
    orders, (train, val) = [Orders(), Orders(), Orders()], zoo.loaders()
    twice = zoo.trainer(callbacks=[orders[0]], n_epoch=2)
    for _ in range(2):
        twice.fit(train, val)
    zoo.trainer(callbacks=[orders[1]], n_epoch=4).fit(train, val)
    zoo.trainer(callbacks=[orders[2]], n_epoch=1).fit(train, val)
    assert orders[0].users == orders[1].users
    assert orders[2].users == orders[1].users[:4]
    assert orders[1].users[:4] != orders[1].users[4:8]


def test_a_second_fit_keeps_the_results_of_the_first():
    """A second fit does not change the history and best_weights of the first."""
    trainer = zoo.trainer()
    history = trainer.fit(*zoo.loaders())
    weights, records = trainer.early_stopper.best_weights, copy.deepcopy(list(history))
    before = zoo.copy_of(weights)
    second = trainer.fit(*zoo.loaders())
    assert second is not history
    assert list(history) == records
    assert zoo.same(weights, before)
    assert trainer.early_stopper.best_weights is not weights


def test_fit_after_a_fit_that_failed_starts_anew():
    """After a run with an exception only the weights remain, and the next run has a schedule of its own length."""
    train, val = zoo.loaders()
    bad = [({**dict(x), "item": x["item"] + 100}, y) for x, y in train]
    trainer = zoo.trainer(scheduler_fn=torch.optim.lr_scheduler.OneCycleLR, scheduler_params={"max_lr": 0.1})
    with pytest.raises(ValueError, match="item"):
        trainer.fit(bad[:1], val)
    assert trainer.scheduler.total_steps == 3
    trainer.fit(train, val)
    assert trainer.scheduler.total_steps == trainer.state.step == 12


def page_loop(model, optimizer, early_stopper, train_dl, val_dl):
    """The loop of the callbacks page, word for word."""
    seen = []
    for _epoch in range(50):
        model.train()
        for batch in train_dl:
            optimizer.zero_grad()
            loss = model(batch)
            loss.backward()
            optimizer.step()
        model.eval()
        val_auc = evaluate(model, val_dl)
        seen.append((val_auc, zoo.copy_of(model.state_dict())))
        if early_stopper.stop_training(val_auc, model.state_dict()):
            model.load_state_dict(early_stopper.best_weights)
            break
    return seen


def plain(n, seed=0, column=False):
    x = zoo.columns(n, seed)
    y = zoo.labels(x, seed)
    return DataLoader(TorchDataset(x, y[:, None] if column else y), batch_size=16)


@pytest.mark.parametrize("kind", ["ours", "plain", "column"])
def test_the_loop_of_the_callbacks_page_works(kind):
    """The loop of the page trains, stops, and ends with the weights of its best validation, with our loaders and torch's."""
    train, val = zoo.loaders() if kind == "ours" else (plain(64, column=kind == "column"), plain(40, 7, column=kind == "column"))
    model, stopper = zoo.model(), EarlyStopper(3)
    seen = page_loop(model, torch.optim.Adam(model.parameters(), lr=0.05), stopper, train, val)
    values = [value for value, _ in seen]
    assert stopper.trial_counter == 3
    assert len(seen) < 50
    assert stopper.best_auc == max(values)
    assert zoo.same(model.state_dict(), seen[values.index(max(values))][1])
    assert evaluate(model, val) == max(values)


def test_labels_and_batches_of_every_form_train_alike():
    """Labels (N,) and (N, 1), a list from torch's DataLoader, a tuple and a packed batch give one loss."""
    model = zoo.plain_model()
    x, y = zoo.tensors()
    packed = next(iter(zoo.loaders(batch_size=64)[1].__class__(zoo.loaders()[0].table, 64)))
    losses = [model(batch) for batch in ((x, y), [x, y], (x, y[:, None]), [x, y.double()], (x, y.long()), packed, (x, y, torch.ones(64)))]
    assert all(loss.shape == () for loss in losses)
    for loss in losses[1:]:
        torch.testing.assert_close(loss.float(), losses[0])


def test_fit_equals_a_hand_written_loop():
    """One epoch of fit equals one hand-written epoch with torch's optimizer, for a model without dropout."""
    train, val = zoo.loaders()
    trainer = zoo.trainer(zoo.plain_model(), n_epoch=1)
    trainer.fit(train, val)
    for by_hand in (lambda m, o: train_one_epoch(m, train, o), lambda m, o: [_step(m, o, batch) for batch in train]):
        model = zoo.plain_model()
        train.set_epoch(0)
        by_hand(model, torch.optim.Adam(model.parameters(), lr=0.05))
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, trainer.model.state_dict()[name])


def _step(model, optimizer, batch):
    optimizer.zero_grad()
    model(batch).backward()
    optimizer.step()


def test_train_one_epoch_returns_the_mean_loss_over_rows():
    """The method and the function give the mean loss over rows, the method calls no hook, and no rows are an error."""
    train, _ = zoo.loaders(n=40, batch_size=16)
    model = zoo.plain_model()
    expected = model((train.table.x, train.table.y)).item()
    assert train_one_epoch(model, train, torch.optim.SGD(model.parameters(), lr=0.0)) == pytest.approx(expected, abs=1e-6)

    class Never(Callback):
        def on_batch_end(self, trainer):
            raise AssertionError

    trainer = zoo.trainer(model, optimizer_params={"lr": 0.0}, callbacks=[Never()], progress=True)
    assert trainer.train_one_epoch(train) == pytest.approx(expected, abs=1e-6)
    for empty in (trainer.train_one_epoch, lambda loader: train_one_epoch(model, loader, torch.optim.SGD(model.parameters()))):
        with pytest.raises(ValueError, match="no batch"):
            empty([])


def test_train_one_epoch_equals_an_epoch_of_fit():
    """trainer.train_one_epoch gives the weights of an epoch of fit."""
    trainer, twin = zoo.trainer(zoo.plain_model()), zoo.trainer(zoo.plain_model(), n_epoch=1)
    train, val = zoo.loaders()
    train.set_epoch(0)
    trainer.train_one_epoch(train)
    twin.fit(train, None)
    assert zoo.same(trainer.model.state_dict(), twin.model.state_dict())
    assert len(trainer.fit(train, val)) == 3


class UserModule(nn.Module):
    """A module of the user, with names that ours use as well."""

    def __init__(self, ending):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.loss = nn.BCELoss()
        self.head = nn.Linear(4, 1)
        self.ending = ending

    def forward(self, x):
        p = torch.sigmoid(self.head(self.features(x if isinstance(x, torch.Tensor) else torch.stack([x["a"], x["b"], x["c"]], 1).float())))
        return {"column": p, "row": p[:, 0], "squeezed": p.squeeze()}[self.ending]


def mine_rows(n=33):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32))
    return x, (x.sum(1) > 0).float()


@pytest.mark.parametrize("ending", ["column", "row", "squeezed"])
@pytest.mark.parametrize("kind", ["tensors", "dicts", "ours"])
def test_any_module_of_probabilities_trains(ending, kind):
    """Any module of features to probabilities trains on any loader, also with a last batch of one row."""
    x, y = mine_rows()
    columns = {name: x[:, j].numpy() for j, name in enumerate("abc")}
    if kind == "ours":
        from torch_rechub.data import Table, TableLoader

        loader = TableLoader(Table.from_columns(columns, y), batch_size=16)
    elif kind == "dicts":
        loader = DataLoader(TorchDataset(columns, y.numpy().astype(np.float64)), batch_size=16)
    else:
        loader = DataLoader(TensorDataset(x, y), batch_size=16)
    torch.manual_seed(0)
    trainer = zoo.trainer(UserModule(ending), n_epoch=15)
    history = trainer.fit(loader, loader)
    assert history.best["auc"] > 0.95
    assert trainer.predict(trainer.model, loader).shape == (33,)


def test_arguments_are_never_changed():
    """The dicts and lists that a trainer gets are not changed."""
    given = {
        "optimizer_params": {"lr": 0.01, "betas": (0.8, 0.9)},
        "scheduler_params": {"factor": 0.5},
        "regularization_params": {"embedding_l2": 1e-3},
        "callbacks": [zoo.Watch()],
        "metrics": ["auc", "logloss"],
    }
    before = {name: copy.copy(value) for name, value in given.items()}
    trainer = zoo.trainer(scheduler_fn=torch.optim.lr_scheduler.ReduceLROnPlateau, **given)
    trainer.fit(*zoo.loaders())
    assert given == before


def test_fit_takes_loaders_without_a_length():
    """Training and validation loaders that do not know their length train as those that do."""
    train, val = zoo.loaders()

    class Stream:
        def __init__(self, batches):
            self.batches = batches

        def __iter__(self):
            return iter(self.batches)

    batches, val_batches = list(train), list(val)
    known, unknown = zoo.trainer(), zoo.trainer()
    torch.manual_seed(2)
    expected = known.fit(batches, val_batches)
    torch.manual_seed(2)
    assert facts(unknown.fit(Stream(batches), Stream(val_batches))) == facts(expected)
    assert zoo.same(known.model.state_dict(), unknown.model.state_dict())
