"""Parts of a trainer that scripts of the existing package assign after it was made."""

import pytest
import torch
import zoo
from torch.optim import lr_scheduler

from torch_rechub.basic.callback import EarlyStopper, MetricLog
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.trainers import CTRTrainer


def kinds(trainer: CTRTrainer) -> list[str]:
    return [type(callback).__name__ for callback in trainer.callbacks]


def run(**options) -> tuple[CTRTrainer, list]:
    """A trainer with a seeded model, and a list for its loggers."""
    torch.manual_seed(0)
    return zoo.trainer(**options), []


class Log:
    def __init__(self) -> None:
        self.keys, self.calls = [], []

    def log_hyperparams(self, params, **_) -> None:
        self.calls.append("log_hyperparams")

    def log_metrics(self, metrics, step=None) -> None:
        self.keys.append((sorted(metrics), step))

    def finish(self) -> None:
        self.calls.append("finish")


@pytest.mark.parametrize(
    ("make", "fn", "params"),
    [
        (lambda o: lr_scheduler.StepLR(o, 1, 0.5), lr_scheduler.StepLR, {"step_size": 1, "gamma": 0.5}),
        (lambda o: lr_scheduler.LambdaLR(o, lambda n: 1 / (n + 1)), lr_scheduler.LambdaLR, {"lr_lambda": lambda n: 1 / (n + 1)}),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=12), lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 12}),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, "max", patience=0), lr_scheduler.ReduceLROnPlateau, {"patience": 0}),
        (lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1), lr_scheduler.CyclicLR, {"base_lr": 0.01, "max_lr": 0.1}),
    ],
)
@pytest.mark.parametrize("optimizer_fn", [torch.optim.SGD, torch.optim.Adam])
def test_an_assigned_scheduler_acts_as_scheduler_fn_does(make, fn, params, optimizer_fn):
    """Two fits have the rates and the weights of a trainer that was given the scheduler's class, and the scheduler is shown."""
    if optimizer_fn is torch.optim.Adam and fn in {lr_scheduler.CyclicLR}:
        params = params | {"cycle_momentum": False}
        made = make

        def make(optimizer):
            return lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, cycle_momentum=False)

        assert made is not make
    options = {"lr": 0.05} | ({"momentum": 0.9} if optimizer_fn is torch.optim.SGD else {})
    results = []
    for assigned in (False, True):
        trainer, _ = run(
            n_epoch=3,
            optimizer_fn=optimizer_fn,
            optimizer_params=options,
            **({} if assigned else {"scheduler_fn": fn, "scheduler_params": params}),
        )
        if assigned:
            scheduler = make(trainer.optimizer)
            trainer.scheduler = scheduler
            assert trainer.scheduler is scheduler
        rates = [trainer.fit(*zoo.loaders())["lr"] for _ in range(2)]
        results.append((rates, zoo.copy_of(trainer.model.state_dict()), kinds(trainer)))
    assert results[0][0] == results[1][0]
    assert zoo.same(results[0][1], results[1][1])
    assert results[0][2] == results[1][2]


def test_an_assigned_scheduler_is_validated():
    """A class, a scheduler of another optimizer and one whose mode contradicts the metric are refused; None takes it away."""
    trainer, _ = run()
    with pytest.raises(TypeError, match="must be a scheduler, such as"):
        trainer.scheduler = lr_scheduler.StepLR
    with pytest.raises(ValueError, match=r"changes the rates of another optimizer. Make it for trainer.optimizer"):
        trainer.scheduler = lr_scheduler.StepLR(torch.optim.SGD(trainer.model.parameters(), 0.1), 1)
    trainer.scheduler = lr_scheduler.ReduceLROnPlateau(trainer.optimizer, "min")
    with pytest.raises(ValueError, match="mode='min' contradicts the monitored metric"):
        trainer.fit(*zoo.loaders())
    trainer.scheduler = None
    assert trainer.scheduler is None
    assert "LearningRate" not in kinds(trainer)
    assert len(trainer.fit(*zoo.loaders())) == trainer.n_epoch


def test_a_run_with_an_assigned_scheduler_resumes_and_knows_another_one(tmp_path):
    """The rates go on as in a run without an interruption; a scheduler with another setting is refused."""

    def trainer_with(gamma: float, n_epoch: int, path) -> CTRTrainer:
        trainer, _ = run(n_epoch=n_epoch, model_path=path)
        trainer.scheduler = lr_scheduler.StepLR(trainer.optimizer, 1, gamma)
        return trainer

    whole = trainer_with(0.5, 4, tmp_path / "whole")
    rates = whole.fit(*zoo.loaders(), resume="auto")["lr"]
    trainer_with(0.5, 2, tmp_path / "parts").fit(*zoo.loaders(), resume="auto")
    with pytest.raises(ValueError, match=r"gamma"):
        trainer_with(0.25, 4, tmp_path / "parts").fit(*zoo.loaders(), resume="auto")
    second = trainer_with(0.5, 4, tmp_path / "parts")
    assert second.fit(*zoo.loaders(), resume="auto")["lr"] == rates
    assert zoo.same(second.model.state_dict(), whole.model.state_dict())


def test_an_assigned_early_stopper_decides():
    """It takes the place of the built-in one, holds the best weights, and stops the run; anything else is refused."""
    trainer, _ = run(n_epoch=6)
    before = kinds(trainer)
    trainer.evaluate_fn = zoo.Scripted([0.5, 0.4, 0.6, 0.7, 0.8, 0.9])
    trainer.early_stopper = stopper = EarlyStopper(2, "min")
    assert trainer.early_stopper is stopper
    assert kinds(trainer) == before
    history = trainer.fit(*zoo.loaders())
    assert len(history) == 4
    assert history.best["step"] == history[1]["step"]
    assert zoo.same(trainer.model.state_dict(), stopper.best_weights)
    for wrong in (None, EarlyStopper, 3):
        with pytest.raises(TypeError, match="must be an EarlyStopper, such as"):
            trainer.early_stopper = wrong


def test_assigned_loggers_are_called_by_the_names_of_there():
    """``train/loss`` and ``val/auc`` at the record's optimizer step, with the epoch; None takes them away."""
    trainer, _ = run(n_epoch=2)
    assert trainer.model_logger is None
    trainer.model_logger = log = Log()
    assert trainer.model_logger is log
    trainer.fit(*zoo.loaders())
    assert [step for _, step in log.keys] == [4, 8]
    assert {"train/loss", "val/auc", "learning_rate", "epoch"} <= set(log.keys[0][0])
    assert log.calls == ["log_hyperparams", "finish"]
    assert kinds(trainer) == kinds(run(model_logger=log)[0])
    with pytest.raises(TypeError, match="has no method log_hyperparams"):
        trainer.model_logger = object()
    trainer.model_logger = None
    assert not any(isinstance(callback, MetricLog) for callback in trainer.callbacks)


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_assigned_penalty_is_added_to_every_step(wrapped):
    """``trainer.reg_loss_fn`` gives the weights of ``regularization_params``; a function of the model does as well."""
    penalty = RegularizationLoss(embedding_l2=0.01, dense_l1=0.001)
    given, _ = run(regularization_params={"embedding_l2": 0.01, "dense_l1": 0.001})
    assert isinstance(given.reg_loss_fn, RegularizationLoss)
    given.fit(*zoo.loaders())
    assigned, _ = run()
    assigned.reg_loss_fn = (lambda model: penalty(model)) if wrapped else penalty
    assigned.fit(*zoo.loaders())
    assert zoo.same(assigned.model.state_dict(), given.model.state_dict())
    plain, _ = run()
    plain.fit(*zoo.loaders())
    assert not zoo.same(plain.model.state_dict(), given.model.state_dict())
    with pytest.raises(TypeError, match="must be a function of the model"):
        plain.reg_loss_fn = 0.1


def test_parts_are_not_assigned_within_a_fit():
    """A callback that assigns one is told to wait."""

    class Assigns(Callback):
        def on_batch_begin(self, trainer):
            trainer.early_stopper = EarlyStopper(1)

    with pytest.raises(RuntimeError, match=r"trainer.early_stopper was assigned within a fit"):
        run(callbacks=[Assigns()])[0].fit(*zoo.loaders())


def test_gpus_are_readable():
    """``trainer.gpus`` is the list of there."""
    assert run()[0].gpus == []
    assert run(gpus=[0])[0].gpus == [0]
