"""Validation data with a mistake, and the law of every refusal: before the first step, with nothing changed."""

import pytest
import torch
import zoo
from torch.utils.data import DataLoader

from torch_rechub.data import Table, TableLoader, TorchDataset

SOFT = 0.25


def validation(kind, n=40, spoil=None, weight=None, **columns):
    """Validation data of a kind; ``spoil`` changes columns and labels in place, and ``columns`` are carried."""
    x = zoo.columns(n, seed=7)
    y = zoo.labels(x, 7)
    if spoil is not None:
        spoil(x, y)
    x |= columns
    if kind == "table":
        return TableLoader(Table.from_columns(x, y, weight), batch_size=16)
    loader = DataLoader(TorchDataset(x, y), batch_size=16)
    return list(loader) if kind == "list" else loader if kind == "DataLoader" else (batch for batch in loader)


def assert_refused(trainer, val, said, error=ValueError, train=None):
    """``fit`` raises before the first step, and has changed no weight."""
    before, state = zoo.copy_of(trainer.model.state_dict()), torch.get_rng_state()
    with pytest.raises(error, match=said):
        trainer.fit(zoo.loaders()[0] if train is None else train, val)
    assert trainer.state.step == 0
    assert zoo.same(trainer.model.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), state)
