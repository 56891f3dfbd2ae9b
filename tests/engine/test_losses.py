"""The loss of a task: terms of total 0, weights, logits and probabilities, and criteria that cannot be used."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import FEATURES, batches, deepfm, trainer_of
from tasks import loaders_of
from tasks import trainer_of as task_trainer
from torch import nn

from torch_rechub.basic.loss_func import prediction_loss
from torch_rechub.engine.mean_loss import MeanLoss
from torch_rechub.models.ranking import DeepFM


class ExtraLoss(nn.Module):
    """Returns a prediction and an extra loss."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x["user"].float()[:, None])).squeeze(1), self.linear.weight.square().sum()


class Linear(nn.Module):
    """A model of a user, with probabilities, logits or another shape."""

    def __init__(self, activation=torch.sigmoid):
        super().__init__()
        self.linear, self.activation = nn.Linear(1, 1), activation

    def forward(self, x):
        return self.activation(self.linear(x["user"].float()[:, None])).squeeze(1)


def test_a_step_of_zero_weights_keeps_weights_finite_with_an_extra_loss():
    """A batch whose weights sum to 0 adds nothing, also where the model returns an extra loss."""
    weight = torch.ones(64)
    weight[8:16] = 0
    trainer = trainer_of(ExtraLoss(), loss_mode=False, n_epoch=1)
    trainer.fit(batches(weight))
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def test_a_sum_means_the_same_with_weights_of_one():
    """reduction="sum" is not divided, with and without weights."""
    p, y = torch.tensor([0.5, 0.2, 0.9]), torch.tensor([1.0, 0.0, 1.0])
    criterion = nn.MSELoss(reduction="sum")
    torch.testing.assert_close(prediction_loss(criterion, p, y, torch.ones(3)), prediction_loss(criterion, p, y))
    torch.testing.assert_close(prediction_loss(criterion, p, y, 2 * torch.ones(3), 7.0), 2 * prediction_loss(criterion, p, y))


class OwnCriterion(nn.BCEWithLogitsLoss):
    """A subclass gets logits as its base class does."""


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss(), OwnCriterion(), F.binary_cross_entropy_with_logits])
def test_a_criterion_of_logits_never_gets_probabilities_of_our_models(criterion, replaced):
    """The loss is the one of BCELoss, also where a forward hook replaced the prediction, which then carries no logits."""
    model = deepfm()
    if replaced:
        model.register_forward_hook(lambda module, inputs, output: output * 1.0)
    trainer, plain = trainer_of(model), trainer_of()
    trainer.criterion = criterion
    plain.fit(batches())
    trainer.fit(batches())
    np.testing.assert_allclose(trainer.history["loss"], plain.history["loss"], rtol=1e-3)


class Logits(DeepFM):
    """Its forward returns logits, not probabilities."""

    def forward(self, x):
        return self.logits(x)


def test_a_subclass_whose_forward_returns_logits_trains_with_a_criterion_of_logits():
    """Values outside [0, 1] are no probabilities: they are taken as they are, and the loss is the one of BCELoss."""
    torch.manual_seed(0)
    trainer, plain = trainer_of(Logits(FEATURES, FEATURES, {"dims": [8]})), trainer_of()
    trainer.criterion = nn.BCEWithLogitsLoss()
    plain.fit(batches())
    trainer.fit(batches())
    np.testing.assert_allclose(trainer.history["loss"], plain.history["loss"], rtol=1e-5)


@pytest.mark.parametrize(("activation", "warned"), [(torch.sigmoid, 1), (lambda logits: logits - 1, 0)])
def test_probabilities_for_a_criterion_of_logits_are_warned_of_once(activation, warned, caplog):
    """A user's own module that returns probabilities is probably meant for BCELoss."""
    trainer = trainer_of(Linear(activation))
    trainer.criterion = nn.BCEWithLogitsLoss()
    with caplog.at_level(logging.WARNING):
        trainer.fit(batches())
    assert sum("is the loss of logits" in record.getMessage() for record in caplog.records) == warned


def test_the_recorded_loss_is_finite_where_one_term_has_no_labels():
    """No click is known, every watch time is: the loss is averaged over rows, and the term without rows is 0."""
    train = loaders_of("uncertainty")[0]
    for _, labels in train:
        labels[:, 0] = math.nan
    trainer = task_trainer("uncertainty")
    ends = []
    trainer.objective.epoch_end = ends.append
    trainer.fit(train)
    assert math.isfinite(trainer.history["loss"][0])
    assert ends[0]["click"] == 0
    assert ends[0]["watch"] > 0


def test_predictions_of_another_shape_are_refused():
    """Only one column, (B,) or (B, 1), is taken for (B,): other shapes with as many numbers mix up rows."""

    class Transposed(Linear):
        def forward(self, x):
            return super().forward(x).view(2, -1)

    with pytest.raises(ValueError, match="shape"):
        trainer_of(Transposed()).fit(batches())


def test_a_criterion_of_one_value_a_row_is_refused():
    """It must return the mean over rows."""
    trainer = trainer_of()
    trainer.criterion = lambda prediction, y: (prediction - y) ** 2
    with pytest.raises(ValueError, match=r"returns shape \(8,\); it must return one number"):
        trainer.fit(batches())


@pytest.mark.parametrize("n_term", [1, 2])
def test_the_mean_loss_is_nan_without_a_step(n_term):
    """Two records with no step between them: the second one has no loss, which is not a loss of 0."""
    mean, terms = MeanLoss(torch.device("cpu")), {str(i): torch.tensor(0.5) for i in range(n_term)}
    assert math.isnan(mean.take()["loss"])
    mean.add(torch.tensor(0.5), terms, dict.fromkeys(terms, 4), 4)
    assert mean.take()["loss"] == 0.5
    assert all(math.isnan(value) for value in mean.take().values())
