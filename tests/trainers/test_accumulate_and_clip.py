"""Several batches a step, penalties on weights, and the norm of the gradient."""

from __future__ import annotations

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback

FEW_OPTIMIZERS = [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop]  # row-wise, row-wise, and dense


def close(a, b, **tolerance):
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def ordered(n, batch_size, weight=None):
    """Batches in stored order, so that k small ones are the rows of a large one."""
    return list(zoo.loaders(n, batch_size, weight=weight)[0].in_order())


@pytest.mark.parametrize("optimizer_fn", FEW_OPTIMIZERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_accumulating_k_batches_equals_one_large_batch(optimizer_fn, weighted):
    """k batches a step give the weights of one large batch, also with smaller last batches, row weights and penalties."""
    weight = torch.arange(77) % 4 if weighted else None
    options = {
        "n_epoch": 2,
        "optimizer_fn": optimizer_fn,
        "optimizer_params": {"lr": 0.01},
        "regularization_params": {"embedding_l2": 0.01},
    }
    small = zoo.trainer(zoo.plain_model(), accumulate=3, **options)
    large = zoo.trainer(zoo.plain_model(), **options)
    one = small.fit(ordered(77, 8, weight))
    other = large.fit(ordered(77, 24, weight))
    assert one["step"] == other["step"] == [4, 8]
    assert one["rows"] == other["rows"] == [77, 154]
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    close(small.model.state_dict(), large.model.state_dict(), rtol=2e-4, atol=2e-5)


def test_a_batch_of_weight_zero_changes_nothing():
    """A batch whose rows all have weight 0 has a gradient of 0, and does not count in a group of batches."""
    x, y = zoo.tensors(16)
    nothing, something = (x, y, torch.zeros(16)), (x, y, torch.ones(16))
    for accumulate, batches in ((1, [nothing]), (2, [nothing, nothing]), (2, [something, nothing])):
        trainer = zoo.trainer(zoo.plain_model(), accumulate=accumulate, n_epoch=1, optimizer_fn=torch.optim.SGD)
        twin = zoo.trainer(zoo.plain_model(), n_epoch=1, optimizer_fn=torch.optim.SGD)
        trainer.fit(batches)
        if batches[0] is something:
            twin.fit([something])
        close(trainer.model.state_dict(), twin.model.state_dict())


class Norms(Callback):
    def __init__(self):
        self.norms = []

    def on_backward_end(self, trainer):
        grads = [p.grad.to_dense() for p in trainer.model.parameters() if p.grad is not None]
        self.norms.append(torch.linalg.vector_norm(torch.cat([grad.flatten() for grad in grads])).item())


@pytest.mark.parametrize("optimizer_fn", FEW_OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_clip_norm_bounds_the_joint_norm_of_all_gradients(optimizer_fn, accumulate):
    """In on_backward_end the gradients have the joint norm clip_norm where it was larger, and are unchanged where it was smaller."""
    free, bound = Norms(), Norms()
    options = {"optimizer_fn": optimizer_fn, "optimizer_params": {"lr": 0.0}, "accumulate": accumulate, "n_epoch": 1}
    zoo.trainer(zoo.plain_model(), callbacks=[free], **options).fit(zoo.loaders()[0])
    clip_norm = sorted(free.norms)[len(free.norms) // 2] * 0.999
    zoo.trainer(zoo.plain_model(), callbacks=[bound], clip_norm=clip_norm, **options).fit(zoo.loaders()[0])
    assert len(free.norms) == 4 // accumulate
    assert bound.norms == pytest.approx([min(norm, clip_norm) for norm in free.norms], rel=1e-4)
    assert min(bound.norms) < clip_norm * 0.9999 or accumulate == 2


def test_penalties_on_weights_are_part_of_the_loss():
    """regularization_params add l * sum(w) to the recorded loss and to the gradient, except for batch norm."""
    penalties = {"embedding_l1": 0.1, "embedding_l2": 0.2, "dense_l1": 0.3, "dense_l2": 0.4}
    train, _ = zoo.loaders(batch_size=64)
    losses = {}
    for given in (None, penalties):
        trainer = zoo.trainer(zoo.model(dropout=0.0), regularization_params=given, optimizer_params={"lr": 0.0}, n_epoch=1)
        losses[given is None] = trainer.fit(train)["loss"][0]
    expected = 0.0
    for name, value in trainer.model.state_dict().items():
        if "embed_dict" in name:
            expected += 0.1 * value.abs().sum() + 0.2 * value.square().sum()
        elif "mlp.mlp.1." not in name:
            expected += 0.3 * value.abs().sum() + 0.4 * value.square().sum()
    assert losses[False] - losses[True] == pytest.approx(float(expected), rel=1e-4)


def test_steps_are_counted_by_groups():
    """n batches in groups of k are ceil(n / k) optimizer steps an epoch."""
    trainer = zoo.trainer(accumulate=3, n_epoch=2)
    history = trainer.fit(zoo.loaders(batch_size=8)[0])
    assert trainer.total_steps == trainer.state.step == 6
    assert history["step"] == [3, 6]
