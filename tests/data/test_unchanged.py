"""What is used within ``unchanged`` is afterwards what it was before."""

import functools
import random
from collections import Counter, deque

import numpy as np
import pytest
import torch

from torch_rechub.data.unchanged import unchanged

N_GLOBAL_CALLS = 0
SEEN = []


class Counting:
    """An object with every kind of state that a call changes."""

    def __init__(self):
        self.n, self.order, self.rows = 0, list(range(9)), np.arange(9)
        self.tensor, self.seen, self.bag, self.queue = torch.arange(9), {}, Counter("a"), deque([1])
        self.numpy, self.old, self.python = np.random.default_rng(0), np.random.RandomState(0), random.Random(0)
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self):
        self.n += 1
        self.fresh = object()
        self.python.shuffle(self.order)
        self.numpy.shuffle(self.rows)
        self.tensor[self.old.randint(9)] = 7
        self.seen["last"] = torch.rand(1, generator=self.generator).item()
        self.bag.update("ab")
        self.queue.append(2)

    def state(self):
        generators = [self.numpy.bit_generator.state, self.old.get_state()[2], self.python.getstate(), self.generator.get_state().tolist()]
        columns = [*self.order], self.rows.tolist(), self.tensor.tolist(), dict(self.seen), dict(self.bag), [*self.queue]
        return self.n, hasattr(self, "fresh"), columns, generators


def count_in_globals():
    global N_GLOBAL_CALLS
    N_GLOBAL_CALLS += 1
    SEEN.append(N_GLOBAL_CALLS)


def closure():
    n, calls = 0, []

    def count():
        nonlocal n
        n += 1
        calls.append(n)

    return count, lambda: (n, list(calls))


def uses():
    """Each: what is called, and a function that gives its state."""
    counting, count, dataset = Counting(), closure(), Counting()
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, sampler=[0])
    return {
        "object": (counting, counting.state),
        "closure": count,
        "partial of a method": (functools.partial(Counting.__call__, counting), counting.state),
        "bound method": (counting.__call__, counting.state),
        "globals": (count_in_globals, lambda: (N_GLOBAL_CALLS, list(SEEN))),
        "data set of a loader": (loader, dataset.state),
    }


@pytest.mark.parametrize("kind", uses())
def test_unchanged_restores_what_a_call_changes(kind):
    """Attributes, closures, globals, containers, orders of rows and random generators are restored; without it they differ."""
    used, state = uses()[kind]
    call = used.dataset if kind == "data set of a loader" else used
    before = state()
    with unchanged(used):
        call()
        assert state() != before
    assert state() == before


def test_unchanged_restores_the_random_states_also_after_an_error():
    """The next numbers of torch, numpy and Python are the same as without the block."""

    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    expected = draw()
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])

    def draw_and_fail():
        with unchanged():
            draw()
            raise KeyError

    with pytest.raises(KeyError):
        draw_and_fail()
    assert draw() == expected
