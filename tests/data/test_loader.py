"""Loaders: every row once an epoch, an order that is a function of (seed, epoch), and nothing else touched."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_rechub.basic.batch.packed import PackedFeatures
from torch_rechub.data import Table, TableLoader


def make_table(n_row, weight=False):
    """A table whose label is 10 times its id, so that a row which fell apart shows."""
    ids = np.arange(n_row)
    return Table.from_columns({"id": ids, "half": ids / 2, "pair": np.stack([ids, -ids], 1)}, ids * 10, ids + 1 if weight else None)


def ids_of(loader):
    """The ids batch by batch, once it is sure that each row is whole."""
    batches = []
    for x, y in loader:
        ids = x["id"].tolist()
        assert y.tolist() == [10 * i for i in ids]
        assert x["half"].tolist() == [i / 2 for i in ids]
        assert x["pair"].tolist() == [[i, -i] for i in ids]
        batches.append(ids)
    return batches


def flat(batches):
    return [i for batch in batches for i in batch]


@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.booleans(), st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=60, deadline=None)
def test_loader_yields_every_row_exactly_once(n_row, batch_size, shuffle, drop_last, seed):
    """An epoch is a permutation of the rows in batches of batch_size, the last one smaller or left out."""
    loader = TableLoader(make_table(n_row), batch_size, shuffle, seed, drop_last)
    batches = ids_of(loader)
    assert len(batches) == len(loader)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    rows = flat(batches)
    assert len(set(rows)) == len(rows) == (n_row // batch_size * batch_size if drop_last else n_row)
    if not shuffle:
        assert rows == list(range(len(rows)))


def test_loader_order_is_a_function_of_seed_and_epoch():
    """Equal (seed, epoch) give equal orders, whatever was walked before; another epoch or seed gives another order."""
    table = make_table(100)
    loader = TableLoader(table, 7, shuffle=True, seed=3)
    epochs = [ids_of(loader) for _ in range(4)]
    assert loader.epoch == 4
    again = TableLoader(table, 7, shuffle=True, seed=3)
    for epoch in (2, 0, 3, 1):
        again.set_epoch(epoch)
        assert ids_of(again) == epochs[epoch]
    other = TableLoader(table, 7, shuffle=True, seed=4)
    orders = [flat(batches) for batches in [*epochs, *(ids_of(other) for _ in range(4))]]
    assert len({tuple(order) for order in orders}) == 8


def test_loader_moves_on_even_when_left_early():
    """A walk that breaks after one batch still counts as an epoch: the next walk has a new order."""
    loader = TableLoader(make_table(50), 5, shuffle=True, seed=0)
    first = next(iter(loader))[0]["id"].tolist()
    assert loader.epoch == 1
    loader.set_epoch(0)
    assert ids_of(loader)[0] == first


def test_loader_starts_in_the_middle_of_an_epoch():
    """set_epoch(epoch, start_batch) walks the rest of that epoch, and the walk after it is the whole next epoch."""
    for shuffle in (True, False):
        loader = TableLoader(make_table(23), 4, shuffle=shuffle, seed=5)
        epochs = [ids_of(loader) for _ in range(3)]
        for start in range(len(loader) + 1):
            loader.set_epoch(1, start_batch=start)
            assert ids_of(loader) == epochs[1][start:]
            assert ids_of(loader) == epochs[2]
    for place in ((-1, 0), (0, -1), (0, 7)):
        with pytest.raises(ValueError, match=r"start_batch within 0\.\.6"):
            loader.set_epoch(*place)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_loader_order_is_the_same_with_workers(context):
    """Worker processes yield the very batches, in the very order, of no workers, from the middle of an epoch too, packed by one layout."""
    table = make_table(30)
    alone = TableLoader(table, 4, shuffle=True, seed=1)
    helped = TableLoader(table, 4, shuffle=True, seed=1, num_workers=2, multiprocessing_context=context)
    for loader in (alone, helped):
        loader.set_epoch(5, start_batch=3)
    assert ids_of(alone) == ids_of(helped)
    assert alone.epoch == helped.epoch == 6
    if context == "fork":
        assert ids_of(alone) == ids_of(helped)
        assert all(x.layout is table.x.layout for x, _ in helped.in_order())
        assert ids_of(helped.in_order()) == ids_of(alone.in_order())


def test_loader_leaves_global_random_state_alone():
    """Iterating draws nothing from torch's or numpy's global state, with workers or without; nor does constructing with a seed."""
    torch.manual_seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    for n_worker in (0, 1):
        ids_of(TableLoader(make_table(20), 6, shuffle=True, seed=1, num_workers=n_worker))
    ids_of(TableLoader(make_table(20), 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before


def test_loader_without_a_seed_is_governed_by_torch():
    """With seed=None torch.manual_seed decides the order."""
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(ids_of(TableLoader(make_table(50), 6, shuffle=True)))
    assert orders[0] == orders[1] != orders[2]


def test_loader_seed_may_be_assigned():
    """A resumed run that assigns the old seed walks the old order."""
    loader, other = (TableLoader(make_table(50), 6, shuffle=True, seed=seed) for seed in (1, 2))
    other.seed = loader.seed
    assert ids_of(other) == ids_of(loader)


def test_loader_in_order_never_moves_the_epoch():
    """in_order() yields all rows as stored, dropping none, and leaves the training loader's epoch where it was."""
    loader = TableLoader(make_table(11), 4, shuffle=True, seed=1, drop_last=True)
    loader.set_epoch(3, start_batch=1)
    assert flat(ids_of(loader.in_order())) == list(range(11))
    assert loader.epoch == 3
    assert len(ids_of(loader)) == 1


def test_loader_yields_what_the_table_has():
    """x alone without labels, (x, y) with them, (x, y, weight) with weights, each row with its weight."""
    assert isinstance(next(iter(TableLoader(Table.from_columns({"a": [1]})))), PackedFeatures)
    for x, y, weight in TableLoader(make_table(10, weight=True), 3, shuffle=True):
        assert y.tolist() == [10 * i for i in x["id"].tolist()]
        assert weight.tolist() == [i + 1 for i in x["id"].tolist()]


def test_loader_facts_are_readable():
    """batch_size, shuffle, drop_last, seed, table, dataset and the length say what the loader does."""
    table = make_table(10)
    loader = TableLoader(table, 4, shuffle=True, seed=9, drop_last=True)
    assert (loader.batch_size, loader.shuffle, loader.drop_last, loader.seed, len(loader)) == (4, True, True, 9, 2)
    assert loader.table is loader.dataset is table
    assert isinstance(loader, torch.utils.data.DataLoader)


def test_loader_pickles():
    """A pickled loader goes on at its place."""
    loader = TableLoader(make_table(10), 4, shuffle=True, seed=9)
    loader.set_epoch(2, start_batch=1)
    assert ids_of(pickle.loads(pickle.dumps(loader))) == ids_of(loader)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5])
def test_loader_refuses_wrong_batch_sizes(batch_size):
    """batch_size must be a whole number of at least one."""
    with pytest.raises(ValueError, match=f"batch_size must be an integer >= 1; got {batch_size}"):
        TableLoader(make_table(3), batch_size)


def test_persistent_workers_are_started_once_for_all_walks_in_order():
    """Every walk in stored order has the same worker processes where they persist: the number of child processes does not grow."""
    before = len(multiprocessing.active_children())
    loader = TableLoader(make_table(12), 6, shuffle=True, seed=1, num_workers=1, persistent_workers=True)
    walks = [[x["id"].tolist() for x, _ in loader.in_order()] for _ in range(3)]
    assert walks[0] == walks[1] == walks[2]
    assert len(multiprocessing.active_children()) - before == 1
