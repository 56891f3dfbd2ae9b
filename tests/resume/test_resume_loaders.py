"""A user's own loaders: a list, a DataLoader, an IterableDataset and a class with the members of the Loader protocol train alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import zoo
from resuming import Recipe, assert_resumes

import torch_rechub
from torch_rechub.basic.callback import Callback
from torch_rechub.basic.features import SparseFeature
from torch_rechub.data import Loader, as_loader
from torch_rechub.data.foreign import ForeignLoader
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer


def batches_of(loader):
    return [({name: x[name] for name in x}, y) for x, y in loader.in_order()]


class Stream(torch.utils.data.IterableDataset):
    """Batches one after another, without a length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


class OwnLoader:
    """A loader of the user's own, with the members of the protocol and no base class."""

    is_shared = False

    def __init__(self, batches):
        self.batches, self.walked = batches, []
        self.n_batch = len(batches)

    def share(self, rank, n_rank):
        raise AssertionError("not called in a single process")

    def walk(self, epoch, batch=0):
        self.walked.append((epoch, batch))
        return iter(self.batches[batch:])

    def in_order(self):
        return self.batches

    def check(self, features, binary_labels):
        self.features = features

    def fingerprint(self, saved=None):
        return {"batches": self.n_batch}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def data_loader(batches):
    return torch.utils.data.DataLoader(batches, batch_size=None)


KINDS = {"list": list, "DataLoader": data_loader, "IterableDataset": Stream, "stream in a DataLoader": lambda b: data_loader(Stream(b))}
KINDS["own class"] = OwnLoader


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_loader_trains_alike(kind):
    """The same batches from any kind of loader give the same bits."""
    train, val = zoo.loaders()
    expected, found = zoo.trainer(zoo.plain_model()), zoo.trainer(zoo.plain_model())
    first = expected.fit(batches_of(train), val)
    second = found.fit(KINDS[kind](batches_of(train)), KINDS[kind](batches_of(val)))
    assert zoo.same(expected.model.state_dict(), found.model.state_dict())
    assert first["auc"] == second["auc"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_loader_resumes_at_every_step(kind, tmp_path):
    """A run on any kind of loader is resumed within an epoch with the same bits."""

    def loaders():
        train, val = zoo.loaders()
        return KINDS[kind](batches_of(train)), val

    assert_resumes(Recipe(loaders=loaders, accumulate=2), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_length_of_a_loader_is_known_where_it_has_one(kind):
    """A stream has no length; everything else has."""
    loader = as_loader(KINDS[kind](batches_of(zoo.loaders()[0])))
    assert isinstance(loader, Loader)
    assert loader.n_batch == (None if "tream" in kind or kind == "IterableDataset" else 4)


def test_as_loader_wraps_once():
    """A loader with the protocol's members is used as it is; everything else is wrapped."""
    own = OwnLoader([])
    assert as_loader(own) is own
    wrapped = as_loader([1])
    assert isinstance(wrapped, ForeignLoader)
    assert as_loader(wrapped) is wrapped


def test_an_own_loader_is_walked_from_the_position_of_the_run():
    """walk gets the epoch of the data and the number of the first batch."""
    train, val = zoo.loaders()
    own = OwnLoader(batches_of(train))
    trainer = zoo.trainer(n_epoch=2)
    trainer.fit(own, val)
    trainer.fit(own, val)
    assert own.walked == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert [feature.name for feature in own.features][:2] == ["user", "item"]


def test_nothing_behind_fit_asks_for_the_class_of_a_loader():
    """No file of the engine and the trainers names a class of loader: as_loader is the only place that does."""
    root = Path(torch_rechub.__file__).parent
    files = [*(root / "engine").glob("*.py"), *(root / "trainers").glob("*.py")]
    naming = [path.name for path in files if any(kind in path.read_text() for kind in ("TableLoader", "DataLoader)", "IterableDataset"))]
    assert naming == []


class Dictionaries(torch.utils.data.Dataset):
    """Rows with features by name, for a DataLoader of torch with worker processes."""

    def __len__(self):
        return 64

    def __getitem__(self, row):
        return {"user": row % 8, "item": row % 5}, float(row % 3 == 0)


@pytest.mark.parametrize("step", [8, 9])  # at the end of an epoch of eight steps, and within the second one
def test_resume_with_persistent_workers(step, tmp_path):
    """A new DataLoader of another process draws one random number more when it starts its workers than one that has them already."""

    class Pause(Callback):
        part_of_run = False

        def on_batch_end(self, trainer):
            if trainer.state.step == step:
                trainer.request_pause("test")

    losses = []
    for folder, callbacks, seed in ((None, [], 2), (tmp_path, [Pause()], 2), (tmp_path, [], 99)):
        torch.manual_seed(0)
        features = [SparseFeature("user", 8, 4), SparseFeature("item", 5, 4)]
        model = DeepFM(features, features, {"dims": [8]})
        trainer = CTRTrainer(model, n_epoch=3, progress=False, model_path=folder, callbacks=callbacks)
        torch.manual_seed(seed)
        loader = torch.utils.data.DataLoader(Dictionaries(), 8, shuffle=True, num_workers=1, persistent_workers=True)
        trainer.fit(loader, resume=None if folder is None else "auto")
        losses.append(trainer.history["loss"])
    assert losses[2] == losses[0]
