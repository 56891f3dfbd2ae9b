"""The laws of tomorrow's tasks: early stopping, accumulation, kill and resume, and several processes, all through the one loop."""

from __future__ import annotations

import copy

import pytest
import tasks
import torch
from comparing import assert_equal, tensors_of
from tasks import TASKS, loaders_of, trainer_of

from torch_rechub.basic.callback import Callback


class KeepsEach(Callback):
    """Keeps everything that is trained, as each validation measures it."""

    def __init__(self):
        self.seen = []

    def on_validation_begin(self, trainer):
        self.seen.append(tensors_of(trainer))


@pytest.mark.parametrize("task", TASKS)
def test_a_task_ends_with_its_best_weights(task, tmp_path):
    """After fit the model, and what is learned besides it, hold the values of the best validation; model.pth holds the model's only."""
    keeps = KeepsEach()
    trainer = trainer_of(task, tmp_path, n_epoch=8, callbacks=[keeps], optimizer_params={"lr": 0.3})
    history = trainer.fit(*loaders_of(task))
    best = next(i for i, record in enumerate(history) if record is history.best)
    assert_equal(tensors_of(trainer), keeps.seen[best])
    assert any(not torch.equal(value, keeps.seen[-1][name]) for name, value in tensors_of(trainer).items()) or best == len(history) - 1
    saved = torch.load(tmp_path / "model.pth", weights_only=True)
    assert saved.keys() == trainer.model.state_dict().keys()


@pytest.mark.parametrize("task", ["uncertainty", "GradNorm", "criterion with a parameter"])
def test_what_is_learned_besides_the_model_moves(task):
    """Task weights and a criterion's own parameter are optimized."""
    trainer = trainer_of(task)
    before = {name: value.clone() for name, value in trainer.objective.own_tensors().items()}
    trainer.fit(*loaders_of(task))
    moved = [name for name, value in trainer.objective.own_tensors().items() if not torch.equal(value, before[name])]
    assert {"uncertainty": "log_variance", "GradNorm": "weights", "criterion with a parameter": "criterion.gamma"}[task] in moved


@pytest.mark.parametrize("task", [name for name in TASKS if name != "two towers"])
def test_accumulated_batches_are_one_large_batch(task):
    """Four batches of a step give the weights of one batch four times as large, to 1e-12 in float64: also with NaN labels and padding."""
    options = {"optimizer_fn": torch.optim.SGD, "optimizer_params": {"lr": 0.2}, "n_epoch": 2}
    small, large = trainer_of(task, accumulate=4, **options), trainer_of(task, **options)
    small.fit(loaders_of(task, 4)[0])
    large.fit(loaders_of(task, 16)[0])
    assert small.state.step == large.state.step == 8
    for name, value in tensors_of(large).items():
        torch.testing.assert_close(tensors_of(small)[name], value, rtol=0, atol=1e-12)
    for one, other in zip(small.history["loss"], large.history["loss"], strict=True):
        assert one == pytest.approx(other, abs=1e-12)


def test_the_terms_of_several_tasks_are_recorded():
    """Each term has a column of its own mean; missing labels do not count."""
    trainer = trainer_of("uncertainty", n_epoch=1, optimizer_fn=torch.optim.SGD, optimizer_params={"lr": 0.0})
    before = copy.deepcopy(trainer.model)
    train, val = loaders_of("uncertainty")
    (record,) = trainer.fit(train, val)
    objective = tasks.TwoTasks(before)
    whole = ({name: torch.cat([x[name] for x, _ in train]) for name in ("user", "item")}, torch.cat([y for _, y in train]))
    expected = objective(whole, objective.sizes(whole) | {"batches": 1})
    for name, value in expected.terms.items():
        assert record[f"loss/{name}"] == pytest.approx(value.item(), abs=1e-12)
    assert {"auc/click", "rmse/watch"} <= record.keys()


def test_a_term_that_no_row_has_is_zero():
    """A step in which a task has no label gives 0 for its term, and no NaN."""
    train, _ = loaders_of("uncertainty")
    without = [(x, torch.where(torch.tensor([False, True]), torch.nan, y)) for x, y in train]
    trainer = trainer_of("uncertainty", n_epoch=1)
    trainer.fit(without)
    assert all(value.isfinite().all() for value in tensors_of(trainer).values())


def test_forward_must_return_the_terms_of_sizes():
    """An objective whose forward leaves a term out is refused by name."""

    class Forgets(tasks.TwoTasks):
        def forward(self, batch, totals):
            loss = super().forward(batch, totals)
            return loss._replace(terms={"click": loss.terms["click"]})

    trainer = type("Own", (tasks.MultiTaskTrainer,), {"objective_class": Forgets})(tasks.TwoHeads(), model_path=None, metrics=["auc"])
    with pytest.raises(ValueError, match="Forgets: forward must return the terms of sizes"):
        trainer.fit(loaders_of("uncertainty")[0])
