"""Validation, evaluate and predict: metrics, criteria, and one probability a row in the loader's row order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import zoo
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from torch_rechub.basic.callback import Callback
from torch_rechub.data import PredictDataset, TorchDataset
from torch_rechub.trainers import evaluate


def direct(model, x):
    """The model's probabilities of all rows, computed at once."""
    model.eval()
    with torch.no_grad():
        return model({name: torch.from_numpy(column) for name, column in x.items()}).numpy()


def test_predict_gives_stored_order_also_for_a_shuffled_loader():
    """predict gives the table's row order for our shuffled loader, and neither predict nor evaluate advances its epoch."""
    train, _ = zoo.loaders(n=61)
    trainer = zoo.trainer()
    epoch = train.epoch
    predicted = trainer.predict(trainer.model, train)
    assert (predicted.shape, predicted.dtype) == ((61,), np.float32)
    np.testing.assert_allclose(predicted, direct(trainer.model, zoo.columns(61)), rtol=1e-5)
    trainer.evaluate(trainer.model, train)
    assert train.epoch == epoch


def test_evaluate_agrees_with_sklearn():
    """evaluate, as a method and as a function, is the float AUC of predict's output and the table's labels."""
    train, val = zoo.loaders(n=333)
    trainer = zoo.trainer(metrics=["auc", "logloss"], n_epoch=1)
    trainer.fit(train, val)
    for loader in (train, val):
        y, p = loader.table.y.numpy(), trainer.predict(trainer.model, loader)
        for value in (trainer.evaluate(trainer.model, loader), evaluate(trainer.model, loader)):
            assert type(value) is float
            assert value == pytest.approx(roc_auc_score(y, p), abs=1e-9)
    assert trainer.history["logloss"][0] == pytest.approx(log_loss(y, p.astype(np.float64)), rel=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
def test_predict_takes_loaders_with_and_without_labels(labelled):
    """A plain DataLoader, with labels or without, is read in its own order, also with a last batch of one row."""
    x = zoo.columns(33)
    rows = TorchDataset(x, zoo.labels(x)) if labelled else PredictDataset(x)
    trainer = zoo.trainer()
    predicted = trainer.predict(trainer.model, DataLoader(rows, batch_size=16))
    np.testing.assert_allclose(predicted, direct(trainer.model, x), rtol=1e-5)


def test_a_last_batch_of_one_row_works():
    """33 rows in batches of 16 can be trained on with batch norm, validated and predicted."""
    train, val = zoo.loaders(n=33, n_val=17)
    trainer = zoo.trainer(n_epoch=2)
    assert len(trainer.fit(train, val)) == 2
    assert len(trainer.predict(trainer.model, val)) == 17
    assert trainer.predict(trainer.model, zoo.loaders(n=1)[0]).shape == (1,)


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_and_predict_change_nothing(training):
    """The mode, the weights and torch's random state are as before, also where the loader raises."""
    train, _ = zoo.loaders()
    trainer = zoo.trainer()
    trainer.model.train(training)
    before, state = zoo.copy_of(trainer.model.state_dict()), torch.get_rng_state()
    for read in (trainer.evaluate, trainer.predict, evaluate):
        read(trainer.model, train)
        with pytest.raises(ValueError, match="must have this column"):
            read(trainer.model, [({"user": torch.zeros(2).long()}, torch.zeros(2))])
    assert trainer.model.training is training
    assert torch.equal(torch.get_rng_state(), state)
    assert zoo.same(trainer.model.state_dict(), before)


@pytest.mark.parametrize(("read", "what"), [("evaluate", "evaluate"), ("predict", "predict")])
def test_no_rows_are_an_error(read, what):
    """A loader without a batch is an error, and so are missing labels where labels are needed."""
    trainer = zoo.trainer()
    with pytest.raises(ValueError, match=f"yields no batch: there is nothing to {what}"):
        getattr(trainer, read)(trainer.model, [])
    with pytest.raises(ValueError, match="Evaluation needs labels"):
        trainer.evaluate(trainer.model, DataLoader(PredictDataset(zoo.columns(4))))


def test_an_assigned_evaluate_fn_is_called_once_a_validation():
    """It is called with all rows as two 1-D numpy arrays, recorded under its name, and is the monitored metric."""
    calls = []

    def roc(y_true, y_pred):
        calls.append((y_true, y_pred))
        return roc_auc_score(y_true, y_pred)

    roc.__name__ = roc_auc_score.__name__
    train, val = zoo.loaders()
    trainer = zoo.trainer(val_every=2)
    trainer.evaluate_fn = roc
    assert trainer.evaluate_fn is roc
    history = trainer.fit(train, val)
    assert len(calls) == len(history) == 6
    for y_true, y_pred in calls:
        assert isinstance(y_true, np.ndarray)
        assert isinstance(y_pred, np.ndarray)
        assert y_true.shape == y_pred.shape == (40,)
        np.testing.assert_array_equal(y_true, val.table.y.numpy())
    assert history["roc_auc_score"] == pytest.approx(history["auc"])
    assert trainer.monitor == history.monitor == "roc_auc_score"
    assert trainer.early_stopper.best_auc == max(history["roc_auc_score"])
    assert trainer.evaluate(trainer.model, val) == max(history["roc_auc_score"])
    assert len(calls) == 7


def test_an_error_function_is_best_where_it_is_smallest():
    """With mode="min" the smallest value of an assigned function is best, and otherwise the largest."""
    for mode, best in (("min", min), (None, max)):
        trainer = zoo.trainer(mode=mode)
        trainer.evaluate_fn = mean_squared_error
        history = trainer.fit(*zoo.loaders())
        assert trainer.early_stopper.best_auc == best(history["mean_squared_error"]) == history.best["mean_squared_error"]


def test_an_evaluate_fn_may_be_assigned_again():
    """Only the function that was assigned last is used."""
    trainer = zoo.trainer(n_epoch=1)
    trainer.evaluate_fn = roc_auc_score
    trainer.evaluate_fn = lambda y, p: 0.25
    record = trainer.fit(*zoo.loaders())[0]
    assert record["metric"] == 0.25
    assert "roc_auc_score" not in record
    with pytest.raises(TypeError, match="evaluate_fn must be a function"):
        trainer.evaluate_fn = "auc"


def test_mode_against_a_metric_that_knows_its_direction_is_an_error():
    """mode="min" with AUC as the monitor is refused in fit, with no weight changed."""
    trainer = zoo.trainer(mode="min")
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(ValueError, match=r"mode='min' contradicts the metric 'auc'"):
        trainer.fit(*zoo.loaders())
    assert zoo.same(trainer.model.state_dict(), before)
    with pytest.raises(ValueError, match="mode must be 'max' or 'min'"):
        zoo.trainer(mode="up")


def test_an_assigned_criterion_gets_probabilities():
    """The default criterion is BCELoss; an assigned one gets probabilities and labels, and its value is the loss."""
    trainer = zoo.trainer(n_epoch=1)
    assert isinstance(trainer.criterion, nn.BCELoss)
    seen = []

    class Squares(nn.MSELoss):
        def forward(self, p, y):
            seen.append((p.detach(), y))
            return super().forward(p, y)

    trainer.criterion = Squares()
    history = trainer.fit(*zoo.loaders())
    assert len(seen) == 4
    assert all(((p > 0) & (p < 1)).all() and p.shape == y.shape == (16,) for p, y in seen)
    assert history["loss"][0] == pytest.approx(np.mean([float(((p - y) ** 2).mean()) for p, y in seen]), rel=1e-5)


def test_an_assigned_bceloss_trains_as_the_default():
    """An assigned BCELoss is computed from logits, so that losses and weights are the bits of the default criterion."""
    histories, weights = [], []
    for assign in (False, True):
        trainer = zoo.trainer(zoo.plain_model(), optimizer_fn=torch.optim.SGD)
        if assign:
            trainer.criterion = nn.BCELoss()
        histories.append(trainer.fit(*zoo.loaders())["loss"])
        weights.append(trainer.model.state_dict())
    assert histories[0] == histories[1]
    assert zoo.same(*weights)


class WithExtra(nn.Module):
    """Returns an extra loss beside its scores."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x)), 10 * self.linear.weight.square().sum()


def test_a_model_with_an_extra_loss_trains_with_loss_mode_false():
    """With loss_mode=False the extra loss is added, and validations and predictions use the scores only."""
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).float()
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    torch.manual_seed(0)
    model = WithExtra()
    p, extra = model(x)
    expected = (nn.functional.binary_cross_entropy(p[:, 0], y) + extra).item()
    trainer = zoo.trainer(model, loss_mode=False, optimizer_params={"lr": 0.0}, n_epoch=1)
    history = trainer.fit(loader, loader)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert trainer.predict(model, loader).shape == (40,)
    assert 0 <= trainer.evaluate(model, loader) <= 1


def test_metrics_are_recorded_and_monitor_decides():
    """metrics=[...] are recorded by name, and the one that monitor names decides in its own direction."""
    trainer = zoo.trainer(metrics=["auc", "logloss", "accuracy", "rmse"], monitor="logloss", earlystop_patience=2, n_epoch=12)
    history = trainer.fit(*zoo.loaders())
    assert {"auc", "logloss", "accuracy", "rmse"} <= history[0].keys()
    assert trainer.early_stopper.mode == "min"
    assert history.best["logloss"] == min(history["logloss"]) == trainer.early_stopper.best_auc


def test_a_metric_may_read_a_column_that_is_no_feature():
    """GAUC groups by a column that is no feature of the model, and that the loader yields."""
    from torch_rechub.basic.metric import GAUC
    from torch_rechub.data import Table, TableLoader

    x = zoo.columns(200)
    loader = TableLoader(Table.from_columns({**x, "session": np.arange(200) % 5}, zoo.labels(x)), 32)
    history = zoo.trainer(metrics=["auc", GAUC(group="session")], n_epoch=1).fit(loader, loader)
    assert 0 < history["gauc"][0] < 1


def test_evaluate_within_a_callback_changes_nothing():
    """A callback that evaluates and predicts at every hook does not change the run."""

    class Curious(Callback):
        def measure(self, trainer):
            trainer.evaluate(trainer.model, zoo.loaders()[1])
            trainer.predict(trainer.model, zoo.loaders()[0])

        on_batch_begin = on_batch_end = on_backward_end = on_validation_begin = on_validation_batch_end = on_validation_end = measure

    runs = []
    for callbacks in ([], [Curious()]):
        trainer = zoo.trainer(val_every=2, callbacks=callbacks)
        history = trainer.fit(*zoo.loaders())
        runs.append((history["auc"], history["loss"], zoo.copy_of(trainer.model.state_dict())))
    assert runs[0][:2] == runs[1][:2]
    assert zoo.same(runs[0][2], runs[1][2])


def test_one_class_gives_nan_and_a_warning(caplog):
    """The AUC of a validation set with one class is NaN with a logged warning, and the run continues."""
    x = zoo.columns(20)
    history = zoo.trainer(n_epoch=1).fit(zoo.loaders()[0], DataLoader(TorchDataset(x, np.ones(20)), batch_size=8))
    assert math.isnan(history["auc"][0])
    assert math.isfinite(history["logloss"][0])
    assert "one class" in caplog.text
