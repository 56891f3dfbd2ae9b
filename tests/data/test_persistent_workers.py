"""One loader with persistent workers may be walked by a run and measured meanwhile; loaders are copied without their workers."""

import copy
import gc
import pickle
import weakref

import pytest
import zoo
from torch.utils.data import DataLoader

from torch_rechub.data import Table, TableLoader, TorchDataset


@pytest.mark.parametrize("persistent", [True, False])
def test_validating_on_the_training_loader_does_not_end_its_epoch(persistent):
    """Every batch of each epoch is trained on where one torch DataLoader is training and validation data."""
    x = zoo.columns()
    loader = DataLoader(TorchDataset(x, zoo.labels(x)), batch_size=16, num_workers=1, persistent_workers=persistent)
    trainer = zoo.trainer(n_epoch=2, val_every=2)
    assert trainer.fit(loader, loader)["step"] == [2, 4, 6, 8]
    assert trainer.history["rows"] == [32, 64, 96, 128]


def test_a_table_loader_with_persistent_workers_is_deleted_without_garbage_collection():
    """The last reference deletes the loader and its iterator. The garbage collector would wait five seconds for each worker."""
    x = zoo.columns(32)
    loader = TableLoader(Table.from_columns(x, zoo.labels(x)), 16, num_workers=1, persistent_workers=True)
    walks = [list(loader), list(loader.in_order()), list(loader)]
    assert [len(batches) for batches in walks] == [2, 2, 2]
    iterator = weakref.ref(loader._iterator)
    gc.disable()
    try:
        del loader
        assert iterator() is None
    finally:
        gc.enable()


def test_a_table_loader_is_copied_without_its_workers():
    """A loader whose workers persist after an evaluation can be deep-copied and pickled."""
    x = zoo.columns(32)
    loader = TableLoader(Table.from_columns(x, zoo.labels(x)), 16, num_workers=1, persistent_workers=True)
    trainer = zoo.trainer()
    value = trainer.evaluate(loader)
    for other in (copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert len(other) == len(loader)
        assert trainer.evaluate(other) == value
