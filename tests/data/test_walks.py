"""Whether a loader can be walked twice is known without walking it."""

import itertools

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from torch_rechub.data import as_loader
from torch_rechub.data.walks import walks_once

BATCHES = [({"user": torch.tensor([i])}, torch.tensor([float(i % 2)])) for i in range(3)]


class Returns:
    """``iter()`` gives what ``make`` gives."""

    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return self.make()


class Stored:
    """``iter()`` gives the one iterator that the object holds."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return self.batches


class Walks:
    """``iter()`` is a generator over what the object holds."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        yield from self.batches


class Renews(Walks):
    """``iter()`` makes the iterator that it walks anew."""

    def __iter__(self):
        self.batches = iter(BATCHES)
        yield from self.batches


class Itself:
    """An iterator that never begins anew."""

    def __init__(self):
        self.batches = iter(BATCHES)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.batches)


class BeginsAnew(Itself):
    def __iter__(self):
        self.batches = iter(BATCHES)
        return self


class Stream(IterableDataset):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def generator():
    yield from BATCHES


ONCE = {
    "generator": generator,
    "list iterator": lambda: iter(BATCHES),
    "map": lambda: map(tuple, BATCHES),
    "zip": lambda: zip(BATCHES, BATCHES, strict=True),
    "islice": lambda: itertools.islice(BATCHES, 2),
    "iterator of a DataLoader": lambda: iter(DataLoader(BATCHES, batch_size=None)),
    "stored iterator": lambda: Stored(iter(BATCHES)),
    "generator over a stored generator": lambda: Walks(generator()),
    "class that returns itself": Itself,
    "DataLoader over a stream of a generator": lambda: DataLoader(Stream(generator()), batch_size=None),
    "DataLoader with a generator of indices": lambda: DataLoader(BATCHES, batch_size=None, sampler=iter([0, 1, 2])),
    "DataLoader with a generator of batches": lambda: DataLoader(BATCHES, batch_sampler=iter([[0], [1]]), collate_fn=lambda rows: rows[0]),
}
AGAIN = {
    "list": lambda: BATCHES,
    "tuple": lambda: tuple(BATCHES),
    "DataLoader": lambda: DataLoader(BATCHES, batch_size=None, shuffle=True),
    "DataLoader over a stream": lambda: DataLoader(Stream(BATCHES), batch_size=None),
    "iterable data set": lambda: Stream(BATCHES),
    "class with a generator": lambda: Walks(BATCHES),
    "class that makes an iterator": lambda: Returns(lambda: iter(BATCHES)),
    "class that renews": lambda: Renews(iter(BATCHES)),
    "class that begins anew": BeginsAnew,
}


@pytest.mark.parametrize("kind", ONCE)
def test_what_is_used_up_is_known_before_it_is_walked(kind):
    """The answer is True, and a second walk indeed gives fewer batches."""
    assert walks_once(ONCE[kind]())
    loader = ONCE[kind]()
    assert len([*loader]) > len([*loader])


@pytest.mark.parametrize("kind", AGAIN)
def test_what_begins_anew_is_known_before_it_is_walked(kind):
    """The answer is False, and each walk indeed gives all batches, also after the question."""
    loader = AGAIN[kind]()
    assert not walks_once(loader)
    assert len([*loader]) == len([*loader]) == 3


@pytest.mark.parametrize("kind", {**ONCE, **AGAIN})
def test_a_sample_takes_no_batch_from_the_walk(kind):
    """The first walk after ``sample`` gives as many batches as one without it, and the same first batch."""
    make = {**ONCE, **AGAIN}[kind]
    torch.manual_seed(0)
    expected = [*as_loader(make()).in_order()]
    torch.manual_seed(0)
    loader = as_loader(make())
    first = loader.sample()
    batches = [*loader.in_order()]
    assert len(batches) == len(expected)
    assert repr(batches) == repr(expected)
    assert first is None or repr(first) == repr(batches[0]) or kind == "DataLoader"
