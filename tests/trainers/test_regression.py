"""Labels that are no classes: a criterion of numbers, and what a validation then measures."""

import logging

import numpy as np
import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.data import DataGenerator
from torch_rechub.trainers import CTRTrainer


class Rating(nn.Module):
    """A rating from the age and the user, or a probability."""

    def __init__(self, probability: bool = False) -> None:
        super().__init__()
        self.linear, self.probability = nn.Linear(2, 1), probability

    def forward(self, x):
        rating = self.linear(torch.stack([x["age"].float(), x["user"].float()], 1)).squeeze(1)
        return torch.sigmoid(rating) if self.probability else rating


def mse(y_true, y_pred):
    return float(np.mean((np.asarray(y_true) - np.asarray(y_pred)) ** 2))


def ratings(top: int = 5, n: int = 60):
    x = zoo.columns(n)
    return DataGenerator(x, x["user"] % top).generate_dataloader(split_ratio=[0.6, 0.2], batch_size=12, seed=1)


def trainer_of(criterion, evaluate_fn=None, probability: bool = False, **options) -> CTRTrainer:
    torch.manual_seed(0)
    trainer = CTRTrainer(Rating(probability), n_epoch=4, model_path=None, progress=False, **options)
    trainer.criterion = criterion
    if evaluate_fn is not None:
        trainer.evaluate_fn = evaluate_fn
    return trainer


@pytest.mark.parametrize(
    ("criterion", "function", "stopper", "name", "best"),
    [
        (nn.MSELoss(), None, None, "rmse", "smallest"),
        (nn.L1Loss(), None, None, "mae", "smallest"),
        (nn.MSELoss(), mse, None, "mse", "largest"),
        (nn.MSELoss(), mse, "min", "mse", "smallest"),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_labels_from_0_to_4_are_measured_by_what_they_have(criterion, function, stopper, name, best, plain, caplog):
    """AUC and log loss step aside; one sentence names the metric that decides and its direction, which the best weights have."""
    trainer = trainer_of(criterion, function)
    if stopper:
        trainer.early_stopper = EarlyStopper(10, stopper)
    train, val, test = ratings()
    if plain:
        train, val = list(train), list(val.in_order())
    with caplog.at_level(logging.WARNING):
        history = trainer.fit(train, val)
    assert caplog.text.count(f"{name!r} is monitored, and its {best} value is best") == 1
    assert history.monitor == trainer.monitor == name
    assert "auc" not in history[0]
    assert history.best[name] == (min if best == "smallest" else max)(history[name])
    measured = trainer.measure(trainer.model, test)
    assert list(measured) == [name]
    y = test.table.y.numpy()
    error = y - trainer.predict(trainer.model, test)
    expected = {"mse": np.mean(error**2), "rmse": np.mean(error**2) ** 0.5, "mae": np.abs(error).mean()}
    assert measured[name] == pytest.approx(expected[name], rel=1e-5)


def test_a_trainer_that_was_not_fitted_measures_what_the_labels_have():
    """``evaluate`` of loaded weights gives the error of ratings, and the AUC of binary labels as before."""
    trainer = trainer_of(nn.MSELoss(), probability=True)
    assert list(trainer.measure(trainer.model, ratings()[2])) == ["rmse"]
    assert list(trainer.measure(trainer.model, ratings(top=2)[2])) == ["auc", "logloss"]


def test_binary_labels_are_measured_by_auc_under_any_criterion(caplog):
    """A squared error of labels 0 and 1 keeps AUC, which decides, and says nothing."""
    with caplog.at_level(logging.WARNING):
        history = trainer_of(nn.MSELoss(), probability=True).fit(*ratings(top=2)[:2])
    assert history.monitor == "auc"
    assert "monitored" not in caplog.text


def test_listed_metrics_do_not_step_aside():
    """A metric of the user's list that the labels do not have is an error before the first step."""
    with pytest.raises(ValueError, match="auc: y_true must hold only 0 and 1"):
        trainer_of(nn.MSELoss(), metrics=["auc", "rmse"]).fit(*ratings()[:2])
    with pytest.raises(ValueError, match="auc: y_true must hold only 0 and 1"):
        trainer_of(nn.MSELoss(), monitor="auc").fit(*ratings()[:2])
    with pytest.raises(ValueError, match="Labels must lie in"):
        trainer_of(nn.BCELoss()).fit(*ratings()[:2])


class Scores(Rating):
    """Scores without bounds."""

    def forward(self, x):
        return 9 * super().forward(x)


def test_unbounded_scores_of_binary_labels_are_measured(caplog):
    """Under MSELoss the default log loss of scores without bounds is NaN, one sentence says why, and AUC decides."""
    torch.manual_seed(0)
    trainer = CTRTrainer(Scores(), n_epoch=3, model_path=None, progress=False)
    trainer.criterion = nn.MSELoss()
    history = trainer.fit(*ratings(top=2)[:2])
    assert np.isnan(history["logloss"]).all()
    assert np.isfinite(history["auc"]).all()
    assert caplog.text.count("logloss is not defined and becomes NaN: it is measured of probabilities") == 1


def test_logits_of_the_users_module_are_measured_as_logits():
    """Under BCEWithLogitsLoss the default log loss is that of the sigmoid of the predictions, in fit and by hand."""
    torch.manual_seed(0)
    trainer = CTRTrainer(Scores(), n_epoch=2, model_path=None, progress=False, metrics=None)
    trainer.criterion = nn.BCEWithLogitsLoss()
    train, val, test = ratings(top=2)
    history = trainer.fit(train, val)
    for loader, value in ((val, history.best["logloss"]), (test, trainer.measure(test)["logloss"])):
        logits, y = torch.from_numpy(trainer.predict(loader)), loader.table.y
        assert value == pytest.approx(float(nn.functional.binary_cross_entropy_with_logits(logits, y)), rel=1e-5)


def test_a_log_loss_that_was_asked_for_takes_probabilities_only():
    """A listed or monitored log loss of scores without bounds is an error, and so is BCELoss of them, which names the remedy."""
    for options in ({"metrics": ["auc", "logloss"]}, {"monitor": "logloss"}):
        trainer = CTRTrainer(Scores(), n_epoch=1, model_path=None, progress=False, **options)
        trainer.criterion = nn.MSELoss()
        with pytest.raises(ValueError, match=r"logloss: predictions and labels must lie in \[0, 1\]"):
            trainer.fit(*ratings(top=2)[:2])
    trainer = CTRTrainer(Scores(), n_epoch=1, model_path=None, progress=False)
    with pytest.raises(ValueError, match=r"BCELoss needs predictions in \[0, 1\]; got .*trainer.criterion = nn.BCEWithLogitsLoss"):
        trainer.fit(*ratings(top=2)[:2])
