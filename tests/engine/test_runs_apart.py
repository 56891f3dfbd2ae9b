"""What belongs to one run only: assignments, optimizers and schedules between runs, measuring, and what is refused before a run."""

from __future__ import annotations

import copy

import pytest
import torch
from small import batches, columns, deepfm, trainer_of
from tasks import loaders_of
from tasks import trainer_of as task_trainer
from torch import nn

from torch_rechub.basic.callback import Callback, EarlyStopper, LearningRate
from torch_rechub.data import DataGenerator
from torch_rechub.trainers import find_learning_rate


class Calls(Callback):
    """Calls a function of the trainer at the end of each epoch."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, trainer):
        self.function(trainer)


def test_train_one_epoch_trains_an_assigned_model():
    """The optimizer is made again for the parameters of another model."""
    trainer = trainer_of()
    trainer.model = deepfm()
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train_one_epoch(batches())
    assert not torch.equal(before["linear.fc.weight"], trainer.model.state_dict()["linear.fc.weight"])


def test_a_rate_set_by_hand_is_kept_under_a_closed_form_schedule():
    """Schedules compute from the rate that was set, before the first run and between runs."""
    trainer = trainer_of(n_epoch=3, scheduler_fn=torch.optim.lr_scheduler.LambdaLR, scheduler_params={"lr_lambda": lambda epoch: 1.0})
    trainer.fit(batches(), batches())
    trainer.optimizer.param_groups[0]["lr"] = 0.5
    trainer.fit(batches(), batches())
    assert trainer.history["lr"] == [0.5, 0.5, 0.5]


def test_a_schedule_given_to_two_trainers_works_in_the_first():
    """Each run makes the scheduler of its own optimizer."""
    schedule = LearningRate(torch.optim.lr_scheduler.ExponentialLR, {"gamma": 0.5})
    first, _ = trainer_of(n_epoch=3, callbacks=[schedule]), trainer_of(n_epoch=3, callbacks=[schedule])
    first.fit(batches(), batches())
    assert first.history["lr"] == [0.01, 0.005, 0.0025]


def test_a_failing_begin_measuring_is_undone():
    """A callback that put other weights into the model puts the training weights back where a later one fails."""

    class Zero(Callback):
        def begin_measuring(self, trainer):
            self.before = copy.deepcopy(trainer.weights())
            trainer.load_weights({name: torch.zeros_like(value) for name, value in self.before.items()})

        def end_measuring(self, trainer):
            trainer.load_weights(self.before)

    class Fails(Callback):
        def begin_measuring(self, trainer):
            raise ValueError("test")

    trainer = trainer_of(callbacks=[Zero(), Fails()])
    with pytest.raises(ValueError, match="test"):
        trainer.fit(batches(), batches())
    assert any(value.any() for value in trainer.model.state_dict().values())


def test_find_learning_rate_restores_extra_state():
    """The range test changes no state of the objective, also none that is no tensor."""
    trainer = task_trainer("two towers")
    before = trainer.objective.get_extra_state()
    find_learning_rate(trainer, loaders_of("two towers")[0], n_step=20)
    assert torch.equal(before, trainer.objective.get_extra_state())


def test_a_stop_by_a_subclass_of_early_stopper_has_a_reason():
    """A run that was stopped always says why."""

    class Second(EarlyStopper):
        def stop_training(self, value, weights, **rows):
            super().stop_training(value, weights, **rows)
            return len(self.decisions) >= 2

    trainer = trainer_of(n_epoch=5, callbacks=[Second(9)])
    trainer.fit(batches(), batches())
    assert trainer.history.stop_reason


def test_a_second_fit_does_not_repeat_the_order_of_an_epoch_that_was_stopped_within():
    """An epoch that has begun counts as walked."""

    seen = []

    class Look(Callback):
        def on_batch_end(self, trainer):
            if trainer.state.batch == 1:
                seen.append(trainer.state.current_batch[0]["user"].tolist())
            if trainer.state.batch == 3:
                trainer.request_stop("test")

    train = DataGenerator(*columns()).generate_dataloader(batch_size=8, seed=0)[0]
    trainer = trainer_of(callbacks=[Look()])
    trainer.fit(train)
    trainer.fit(train)
    assert seen[0] != seen[1]


def test_logged_values_hold_each_term_of_the_loss():
    """Loggers get what the history records."""

    class Logger:
        def __init__(self):
            self.logged = []

        def log_hyperparams(self, params): ...

        def log_metrics(self, metrics, step=None):
            self.logged.append(metrics)

        def finish(self): ...

    logger = Logger()
    trainer = task_trainer("uncertainty", model_logger=logger)
    trainer.fit(*loaders_of("uncertainty"))
    assert "train/loss/click" in logger.logged[0]


@pytest.mark.parametrize(
    "function",
    [
        lambda trainer: trainer.train_one_epoch(batches()),
        lambda trainer: setattr(trainer, "model", deepfm()),
        lambda trainer: setattr(trainer, "criterion", nn.MSELoss()),
        lambda trainer: find_learning_rate(trainer, batches()),
    ],
)
def test_what_belongs_outside_of_fit_is_refused_within(function):
    """A model, criterion or optimizer that changes within a run would leave its optimizer and its save behind."""
    with pytest.raises(RuntimeError, match=r"within a fit of the same trainer|fitting"):
        trainer_of(callbacks=[Calls(function)]).fit(batches(), batches())


class Lazy(nn.Module):
    """A model whose shapes its first batch decides."""

    def __init__(self):
        super().__init__()
        self.linear = nn.LazyLinear(1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x["user"].float()[:, None])).squeeze(1)


def test_a_lazy_model_trains_and_is_refused_where_shapes_are_needed(tmp_path):
    """A save and a range test need the shapes before the first batch; the error says how to get them."""
    trainer_of(Lazy()).fit(batches(), batches())
    with pytest.raises(ValueError, match=r"A save to resume from needs the shape of model.linear.weight.*Call the model once"):
        trainer_of(Lazy(), model_path=tmp_path).fit(batches(), batches(), resume="auto")
    with pytest.raises(ValueError, match="find_learning_rate needs the shape"):
        find_learning_rate(trainer_of(Lazy()), batches(), n_step=20)
    model = Lazy()
    model(batches()[0][0])
    assert len(trainer_of(model, model_path=tmp_path).fit(batches(), batches(), resume="auto")) == 2


def test_a_model_without_anything_to_train_is_refused():
    """Without parameters when the trainer is made; with frozen ones when it is to train."""
    with pytest.raises(ValueError, match="no parameters"):
        trainer_of(nn.Identity())
    model = deepfm().requires_grad_(False)
    trainer = trainer_of(model)
    with pytest.raises(ValueError, match="All parameters are frozen"):
        trainer.fit(batches())


@pytest.mark.parametrize("given", ["default", 1, ["mode"]])
def test_compile_must_be_a_flag_or_a_mapping(given):
    """A string would be taken for the argument's keys."""
    with pytest.raises(TypeError, match="compile must be True, False or a mapping"):
        trainer_of(compile=given)


def test_find_learning_rate_names_an_iterator_that_is_used_up():
    """It walks a short loader several times."""
    with pytest.raises(ValueError, match=r"no batch more after 8 steps. An iterator can be walked once only"):
        find_learning_rate(trainer_of(), iter(batches()), n_step=20)
