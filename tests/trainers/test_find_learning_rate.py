"""find_learning_rate suggests a rate and changes nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import zoo
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback
from torch_rechub.engine.find_learning_rate import _judge
from torch_rechub.trainers import find_learning_rate


def state_of(trainer):
    model = trainer.model
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return zoo.copy_of(model.state_dict()), [module.training for module in model.modules()], gradients


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_find_learning_rate_changes_nothing(training, accumulate):
    """Weights, statistics, modes, loader, random states and trainer are as before, and fit gives the same result."""
    results = []
    for find in (True, False):
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        train, val = zoo.loaders()
        trainer = zoo.trainer(accumulate=accumulate, scheduler_fn=torch.optim.lr_scheduler.OneCycleLR, scheduler_params={"max_lr": 0.1})
        trainer.model.train(training)
        train.set_epoch(2, 1)
        before, parts = state_of(trainer), (trainer.optimizer, trainer.scheduler, trainer.state)
        if find:
            find_learning_rate(trainer, train, 1e-3, 1.0, 20)
            after = state_of(trainer)
            assert zoo.same(before[0], after[0])
            assert before[1:] == after[1:]
            assert parts == (trainer.optimizer, trainer.scheduler, trainer.state)
            assert (train._order.epoch, train._order.start_batch) == (2, 1)
        results.append((draws(), trainer.fit(train, val).records, zoo.copy_of(trainer.model.state_dict())))
    for records in (results[0][1], results[1][1]):
        for record in records:
            del record["seconds"]
    assert results[0][:2] == results[1][:2]
    assert zoo.same(results[0][2], results[1][2])


def test_find_learning_rate_keeps_the_optimizer_of_a_fit():
    """Moments and bookkeeping of lagging rows of the trainer's optimizer are unchanged, bit for bit."""
    train, _ = zoo.loaders()
    trainer = zoo.trainer()
    trainer.fit(train)
    before = [state["exp_avg"].clone() for state in trainer.optimizer.state.values()]
    find_learning_rate(trainer, train, n_step=12)
    after = [state["exp_avg"] for state in trainer.optimizer.state.values()]
    assert all(map(torch.equal, before, after))


def test_find_learning_rate_keeps_the_generator_of_a_foreign_loader():
    """A torch DataLoader draws the same order afterwards."""
    x, y = zoo.tensors()
    rows = [({name: column[i] for name, column in x.items()}, y[i]) for i in range(len(y))]
    orders = []
    for find in (True, False):
        loader = DataLoader(rows, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(3))
        if find:
            find_learning_rate(zoo.trainer(), loader, n_step=10)
        orders.append([batch[0]["user"].tolist() for batch in loader])
    assert orders[0] == orders[1]


def test_find_learning_rate_raises_the_rate_by_a_constant_factor():
    """Each step has the next rate of a geometric series from low to high."""
    search = find_learning_rate(zoo.trainer(), zoo.loaders()[0], 1e-5, 1e-3, 21)
    assert search.rates == pytest.approx([1e-5 * 10 ** (i / 10) for i in range(21)])
    assert len(search.losses) == len(search.smoothed) == 21
    assert search.diverged_at is None


def test_the_suggestion_is_where_the_loss_falls_fastest():
    """The suggestion is the steepest descent before the minimum of a given curve, and None where the curve only rises."""
    rates = [10.0**i for i in range(-9, 3)]
    losses = [1.0, 1.0, 1.0, 1.0, 1.0, 0.99, 0.9, 0.6, 0.5, 0.48, 0.6, 9.0]
    assert _judge(rates, losses, losses, True).suggestion in {1e-3, 1e-2}
    assert _judge(rates, losses, losses, True).least == 1.0
    rising = [float(i) for i in range(12)]
    assert _judge(rates, rising, rising, False).suggestion is None


@pytest.mark.filterwarnings("ignore:overflow")
def test_find_learning_rate_ends_where_the_loss_diverges():
    """A far too high rate ends the search, and the weights are restored."""
    trainer = zoo.trainer(zoo.plain_model(), optimizer_fn=torch.optim.SGD)
    before = zoo.copy_of(trainer.model.state_dict())
    search = find_learning_rate(trainer, zoo.loaders()[0], 1e-2, 1e8, 60)
    assert search.diverged_at == search.rates[-1] < 1e8
    assert zoo.same(before, trainer.model.state_dict())


def test_find_learning_rate_restores_everything_after_an_error():
    """An error of the loader changes nothing."""
    trainer = zoo.trainer()
    before = state_of(trainer)
    batches = list(zoo.loaders()[0])

    class RaisingLoader:
        def __iter__(self):
            yield batches[0]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_learning_rate(trainer, RaisingLoader())
    assert zoo.same(before[0], trainer.model.state_dict())
    assert trainer.state.phase == "idle"


def test_find_learning_rate_refuses_bad_arguments():
    """An empty range, too few steps, no batch, or a fit in progress are errors."""
    trainer, train = zoo.trainer(), zoo.loaders()[0]
    for low, high, n_step in ((1.0, 0.1, 20), (0.0, 1.0, 20), (0.1, 1.0, 3)):
        with pytest.raises(ValueError, match="find_learning_rate"):
            find_learning_rate(trainer, train, low, high, n_step)
    with pytest.raises(ValueError, match="no batch"):
        find_learning_rate(trainer, [])

    class Within(Callback):
        def on_batch_end(self, trainer):
            find_learning_rate(trainer, train)

    with pytest.raises(RuntimeError, match="is fitting"):
        zoo.trainer(callbacks=[Within()]).fit(train)


def test_find_learning_rate_plots_a_logarithmic_axis(tmp_path):
    """The plot has a logarithmic axis."""
    figure = find_learning_rate(zoo.trainer(), zoo.loaders()[0], 1e-3, 1.0, 20).plot(tmp_path / "rates.svg")
    assert figure.axes[0].get_xscale() == "log"
    assert (tmp_path / "rates.svg").stat().st_size > 1000
