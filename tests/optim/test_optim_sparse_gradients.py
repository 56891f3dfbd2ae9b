"""Sparse gradients of the user's own ``nn.Embedding(sparse=True)``: they are trained as torch's optimizers train them."""

import sys
import threading

import pytest
import torch
from torch import nn

from torch_rechub.basic.callback import NonFiniteGuard
from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers.table import EmbeddingTable, table_of
from torch_rechub.optim import FTRL, SGD, Adagrad, RowWiseAdagrad
from torch_rechub.trainers import CTRTrainer

PAIRS = [(torch.optim.SGD, {"lr": 0.1}), (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}), (torch.optim.Adagrad, {"lr": 0.1})]

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch's own Adagrad


class Sparse(nn.Module):
    """A user's model with an embedding of sparse gradients, alone or with a linear layer."""

    def __init__(self, linear=True):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(20, 3 if linear else 1, sparse=True)
        self.linear = nn.Linear(3, 1) if linear else nn.Identity()

    def forward(self, x):
        return torch.sigmoid(self.linear(self.embedding(x["id"])).squeeze(1))


def batches():
    generator = torch.Generator().manual_seed(1)
    return [({"id": torch.randint(0, 20, (8,), generator=generator)}, torch.rand(8, generator=generator).round()) for _ in range(6)]


def reference(optimizer_fn, params, accumulate=1, clip_norm=None, l2=0.0):
    """The weights after one epoch of a loop in plain torch."""
    model = Sparse()
    optimizer = optimizer_fn(model.parameters(), **params)
    for begin in range(0, 6, accumulate):
        optimizer.zero_grad()
        for x, y in batches()[begin : begin + accumulate]:
            (nn.functional.binary_cross_entropy(model(x), y) / accumulate).backward()
        if l2:
            (l2 * model.embedding.weight.square().sum()).backward()
        if clip_norm:
            grads = [parameter.grad.to_dense() for parameter in model.parameters()]
            scale = (clip_norm / (torch.stack([grad.norm() for grad in grads]).norm() + 1e-6)).clamp(max=1)
            for parameter in model.parameters():
                parameter.grad = parameter.grad * scale
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize(("optimizer_fn", "params"), PAIRS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": 2},
        {"clip_norm": 0.1},
        {"callbacks": [NonFiniteGuard()]},
        {"regularization_params": {"embedding_l2": 0.01}},
    ],
    ids=["plain", "accumulate", "clip", "guard", "regularization"],
)
def test_a_sparse_embedding_of_the_user_trains_as_in_plain_torch(optimizer_fn, params, options):
    """The trainer gives the weights of a loop in plain torch, with accumulation, clipping, the guard and regularization too."""
    model = Sparse()
    CTRTrainer(model, optimizer_fn, dict(params), n_epoch=1, model_path=None, progress=False, **options).fit(batches())
    plain = {name: value for name, value in options.items() if name in ("accumulate", "clip_norm")}
    expected = reference(optimizer_fn, params, **plain, l2=0.01 if "regularization_params" in options else 0.0)
    torch.testing.assert_close(dict(model.state_dict()), dict(expected))


def test_sparse_adam_trains_a_sparse_embedding_as_in_plain_torch():
    """A model of sparse embeddings alone trains with ``torch.optim.SparseAdam``."""
    model, other = Sparse(linear=False), Sparse(linear=False)
    CTRTrainer(model, torch.optim.SparseAdam, {"lr": 0.1}, n_epoch=1, model_path=None, progress=False).fit(batches())
    optimizer = torch.optim.SparseAdam(other.parameters(), lr=0.1)
    for x, y in batches():
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy(other(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(dict(model.state_dict()), dict(other.state_dict()))


@pytest.mark.parametrize("kind", [FTRL, RowWiseAdagrad, SGD, Adagrad])
def test_a_row_optimizer_gives_a_sparse_embedding_the_step_of_a_dense_one(kind):
    """The step from a sparse gradient is the step from the same gradient as a dense tensor."""
    weights = []
    for sparse in (True, False):
        torch.manual_seed(0)
        embedding = nn.Embedding(10, 2, sparse=sparse)
        optimizer = kind(embedding.parameters(), lr=0.1)
        for ids in ([1, 3, 3], [3, 4, 9]):
            optimizer.zero_grad()
            embedding(torch.tensor(ids)).square().sum().backward()
            optimizer.step()
        weights.append(embedding.weight.detach())
    torch.testing.assert_close(*weights)


def test_tables_are_registered_from_many_threads():
    """32 threads create tables and look them up at once, each finds its own, and none of them fails."""
    feature = SparseFeature("id", 2, 1)
    alive = [EmbeddingTable([feature]) for _ in range(30)]  # so that a search takes a while
    errors: list[BaseException] = []
    start = threading.Barrier(32)

    def work():
        try:
            start.wait()
            for _ in range(8):
                table = EmbeddingTable([feature])
                assert table_of(table.weight) is table
                assert table_of(alive[0].weight) is alive[0]
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
