"""``embedding_rows="batch"``: the penalty on tables covers the rows that a step reads, each once."""

from __future__ import annotations

import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.optim import SGD


def run(model, batches, kind, penalty, lr=0.1, accumulate=1):
    """Train with a hand-written loop; the penalty's gradient is added after the batches of a step."""
    optimizer = kind(model.parameters(), lr=lr)
    for begin in range(0, len(batches), accumulate):
        optimizer.zero_grad()
        for batch in batches[begin : begin + accumulate]:
            (model(batch) / accumulate + penalty(model) / accumulate).backward()
        penalty.add_row_gradients(model)
        optimizer.step()
    if hasattr(optimizer, "detach"):
        optimizer.detach()
    return model


def by_hand(model, batches, l1, l2, lr=0.1):
    """SGD on the loss and on the penalty of the rows with ids in the batch, row by row."""
    for x, y in batches:
        model.zero_grad()
        model((x, y)).backward()
        with torch.no_grad():
            for name in ("user", "item", "tags"):
                table = model.embedding.table_of(name)
                ids = {i for i in x[name].flatten().tolist() if not (name == "tags" and i == 0)}
                for i in ids:
                    row = table.slices[name].start + i
                    weight = table.weight[row]
                    table.weight.grad[row] += 2 * l2 * weight + l1 * weight.sign()
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
    return model


@pytest.mark.parametrize("kind", [SGD, torch.optim.SGD])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.05), (0.02, 0.0), (0.02, 0.05)])
def test_the_rows_of_a_batch_are_penalised_once(kind, l1, l2):
    """Sparse and dense gradients get the derivative for each row that the batch reads, and the other rows stay."""
    batches = [zoo.tensors(6, seed) for seed in (1, 2, 3)]
    penalty = RegularizationLoss(embedding_l1=l1, embedding_l2=l2, embedding_rows="batch")
    ours, expected = (zoo.plain_model() for _ in range(2))
    for model in (ours, expected):
        nn.init.normal_(model.embedding.tables["dim4"].weight)
    expected.load_state_dict(ours.state_dict())
    run(ours, batches, kind, penalty)
    by_hand(expected, batches, l1, l2)
    torch.testing.assert_close(ours.state_dict(), expected.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_trainer_penalises_the_rows_of_a_step(accumulate):
    """The trainer's weights are those of a hand-written loop, by rows, and its loss does not hold the penalty."""
    batches = [zoo.tensors(6, seed) for seed in (1, 2, 3, 4)]
    options = {"embedding_l2": 0.05, "dense_l2": 0.01, "embedding_rows": "batch"}
    trained, expected = zoo.plain_model(), zoo.plain_model()
    trainer = zoo.trainer(
        trained,
        optimizer_fn=torch.optim.SGD,
        optimizer_params={"lr": 0.1},
        regularization_params=options,
        n_epoch=1,
        accumulate=accumulate,
    )
    trainer.fit(batches)
    run(expected, batches, SGD, RegularizationLoss(**options), accumulate=accumulate)
    torch.testing.assert_close(trained.state_dict(), expected.state_dict(), rtol=1e-5, atol=1e-6)


def test_gradients_of_tables_stay_sparse():
    """With "batch" the gradient holds the rows of the batch only; with "all" it is dense."""
    for rows, is_sparse in (("batch", True), ("all", False)):
        model = zoo.plain_model()
        penalty = RegularizationLoss(embedding_l2=0.1, embedding_rows=rows)
        SGD(model.parameters(), lr=0.1)
        (model(zoo.tensors(4)) + penalty(model)).backward()
        penalty.add_row_gradients(model)
        assert model.embedding.tables["dim4"].weight.grad.is_sparse == is_sparse


def test_the_rows_are_all_or_those_of_the_batch():
    """Another word is refused before training."""
    with pytest.raises(ValueError, match="embedding_rows must be 'all' or 'batch'"):
        zoo.trainer(regularization_params={"embedding_l2": 0.1, "embedding_rows": "some"})
