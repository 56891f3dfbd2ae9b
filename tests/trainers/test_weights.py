"""Row weights in the loss and in the metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zoo
from torch import nn

from torch_rechub.data import DataGenerator, Table, TableLoader
from torch_rechub.trainers import CTRTrainer, evaluate

COUNTS = np.random.default_rng(0).integers(0, 4, 40)


def weighted_and_repeated(n=40, seed=0):
    """One batch of weighted rows, and the same with each row repeated by its weight."""
    x = zoo.columns(n, seed)
    y = zoo.labels(x, seed)
    repeated = {name: column.repeat(COUNTS, axis=0) for name, column in x.items()}
    return (
        TableLoader(Table.from_columns(x, y, COUNTS), batch_size=1000),
        TableLoader(Table.from_columns(repeated, y.repeat(COUNTS)), batch_size=1000),
    )


class UserModule(nn.Module):
    """A module that gives probabilities only."""

    def __init__(self):
        super().__init__()
        self.inner = zoo.plain_model()

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("kind", ["our model", "own module", "assigned criterion"])
def test_integer_weights_equal_repeated_rows(kind):
    """In training and in every metric a row of weight n counts as n rows, whatever computes the loss."""
    results = []
    for loader in weighted_and_repeated():
        torch.manual_seed(0)
        trainer = zoo.trainer(UserModule() if kind == "own module" else zoo.plain_model(), n_epoch=5, optimizer_fn=torch.optim.SGD)
        if kind == "assigned criterion":
            trainer.criterion = nn.MSELoss()
        history = trainer.fit(loader, loader)
        results.append((history["loss"], history["auc"], history["logloss"], evaluate(trainer.model, loader)))
        results[-1] += (trainer.model.state_dict(),)
    for one, other in zip(results[0][:4], results[1][:4], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for name, value in results[0][4].items():
        torch.testing.assert_close(value, results[1][4][name], rtol=1e-4, atol=1e-6)


def test_weights_count_in_a_hand_written_loop():
    """model(batch) of (x, y, weight) is sum(w * loss) / sum(w)."""
    model = zoo.plain_model()
    one, other = (model(next(iter(loader))) for loader in weighted_and_repeated())
    torch.testing.assert_close(one, other)
    unweighted = model(next(iter(weighted_and_repeated()[0]))[:2])
    assert not torch.isclose(one, unweighted)


def test_weights_need_a_criterion_of_single_rows():
    """Weights with a criterion that gives only a mean are an error with a remedy, and no weight has changed."""
    trainer = zoo.trainer(zoo.plain_model())
    trainer.criterion = lambda p, y: (p - y).abs().mean()
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(ValueError, match="one value a row"):
        trainer.fit(weighted_and_repeated()[0])
    assert zoo.same(trainer.model.state_dict(), before)


def test_a_bad_weight_of_a_foreign_loader_is_refused():
    """A weight that is negative or not finite is an error that names the row, and the model has not changed."""
    x, y = zoo.tensors(8)
    for bad in (-1.0, float("nan"), float("inf")):
        for module in (zoo.plain_model(), UserModule()):
            trainer = zoo.trainer(module)
            before = zoo.copy_of(module.state_dict())
            with pytest.raises(ValueError, match=r"Row weights must be finite and >= 0; got .* at row 2 of the batch"):
                trainer.fit([(x, y, torch.tensor([1.0, 1, bad, 1, 1, 1, 1, 1]))])
            assert zoo.same(module.state_dict(), before)


def test_weights_of_the_generator_reach_the_trainer():
    """DataGenerator(weight=) and weight_val= make the loaders yield weights as a third part."""
    x = zoo.columns(40)
    train, val, _ = DataGenerator(x, zoo.labels(x), weight=COUNTS).generate_dataloader(x, zoo.labels(x), weight_val=COUNTS, seed=0)
    assert len(next(iter(train))) == len(next(iter(val))) == 3
    history = CTRTrainer(zoo.model(), n_epoch=1, model_path=None, progress=False).fit(train, val)
    assert 0 <= history["auc"][0] <= 1
