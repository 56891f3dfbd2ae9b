"""What would fail in the first validation or the first save is refused before the first step, and looking for it changes no bit."""

import threading

import numpy as np
import pytest
import torch
import zoo
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback, EarlyStopper
from torch_rechub.basic.metric import AUC, GAUC, FunctionMetric, Metric
from torch_rechub.data import Table, TableLoader, TorchDataset

SOFT = 0.25


def validation(kind, n=40, spoil=None, weight=None, **columns):
    """Validation data of a kind; ``spoil`` changes columns and labels in place, and ``columns`` are carried."""
    x = zoo.columns(n, seed=7)
    y = zoo.labels(x, 7)
    if spoil is not None:
        spoil(x, y)
    x |= columns
    if kind == "table":
        return TableLoader(Table.from_columns(x, y, weight), batch_size=16)
    loader = DataLoader(TorchDataset(x, y), batch_size=16)
    return list(loader) if kind == "list" else loader if kind == "DataLoader" else (batch for batch in loader)


def assert_refused(trainer, val, said, error=ValueError, train=None):
    """``fit`` raises before the first step, and has changed no weight."""
    before, state = zoo.copy_of(trainer.model.state_dict()), torch.get_rng_state()
    with pytest.raises(error, match=said):
        trainer.fit(zoo.loaders()[0] if train is None else train, val)
    assert trainer.state.step == 0
    assert zoo.same(trainer.model.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), state)


KINDS = ["table", "list", "DataLoader", "generator"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "spoil", "said"),
    [
        ({"metrics": ["auc", GAUC("session")]}, None, "gauc: x must hold the column 'session'.*Known names"),
        ({"metrics": ["auc", GAUC("itm")]}, None, "gauc: x must hold the column 'itm'.*Did you mean 'item'"),
        ({"metrics": ["auc", GAUC("taste")]}, None, r"gauc: x\['taste'\] must be \(B,\)"),
        ({"callbacks": [EarlyStopper(2, min_delta="significant", groups="session")]}, None, "the column 'session'.*a callback needs"),
        ({}, lambda x, y: y.__setitem__(3, SOFT), "auc: y_true must hold only 0 and 1; got 0.25 at row 3.*logloss"),
        ({"metrics": [GAUC("user")]}, lambda x, y: y.__setitem__(3, SOFT), "gauc: y_true must hold only 0 and 1; got 0.25 at row 3"),
        ({"metrics": ["accuracy"]}, lambda x, y: y.__setitem__(3, SOFT), "accuracy: y_true must hold only 0 and 1"),
        ({}, lambda x, y: x["item"].__setitem__(3, 20), "In the validation data: SparseFeature 'item'.*got 20 at row 3"),
        ({}, lambda x, y: x.pop("item"), "In the validation data: SparseFeature 'item': x must have this column"),
        ({}, lambda x, y: y.__setitem__(3, np.nan), "In the validation data: Labels must be finite; got .*at row 3"),
        ({}, lambda x, y: y.__setitem__(3, 2), r"In the validation data: Labels must lie in \[0, 1\]; got 2 at row 3"),
    ],
)
def test_what_the_first_validation_cannot_measure_is_refused_before_the_first_step(kind, options, spoil, said):
    """A missing column, labels of the wrong kind and ids beyond the vocabulary are found in a table and in a first batch."""
    assert_refused(zoo.trainer(n_epoch=1, **options), validation(kind, spoil=spoil), said)


@pytest.mark.parametrize("metric", ["logloss", "normalized_entropy"])
def test_labels_beyond_the_unit_interval_are_refused_under_entropies(metric):
    """A regression's labels are refused under log loss, and accepted under metrics of any numbers."""
    trainer = zoo.trainer(metrics=[metric])
    trainer.criterion = torch.nn.MSELoss()
    assert_refused(trainer, validation("table", spoil=lambda x, y: y.__imul__(4)), rf"{metric}: y_true must lie in \[0, 1\]; got 4")
    trainer = zoo.trainer(metrics=["rmse", "mae", "calibration"], monitor="rmse", n_epoch=1)
    trainer.criterion = torch.nn.MSELoss()
    trainer.fit(zoo.loaders()[0], validation("list", spoil=lambda x, y: y.__imul__(4)))
    assert trainer.history["rmse"][0] > 0


def test_soft_labels_are_measured_by_metrics_that_take_them():
    """Log loss and normalized entropy take labels between 0 and 1."""
    trainer = zoo.trainer(metrics=["logloss", "normalized_entropy"], n_epoch=1)
    assert len(trainer.fit(zoo.loaders()[0], validation("table", spoil=lambda x, y: y.__setitem__(3, SOFT)))) == 1


def test_weighted_rows_are_refused_under_a_significance_test():
    """The stopper sees before the first step that the validation rows are weighted."""
    trainer = zoo.trainer(callbacks=[EarlyStopper(2, min_delta="significant")])
    assert_refused(trainer, validation("table", weight=np.ones(40)), "does not support row weights")


@pytest.mark.parametrize("n_row", [1, 40])
def test_parts_of_different_lengths_are_refused(n_row):
    """The first batch of a foreign loader must have one label a row, and must have labels."""
    x, y = zoo.tensors(40)
    assert_refused(zoo.trainer(), [(x, torch.cat([y, y]))], "as many rows")
    assert_refused(zoo.trainer(), [x], "Evaluation needs labels")


@pytest.mark.parametrize("part", ["training", "validation"])
def test_data_that_are_used_up_are_refused_before_the_first_step(part):
    """A generator is refused where it is walked twice: in several epochs, and as validation data with val_every."""
    for options in ({"n_epoch": 2}, {"n_epoch": 1, "val_every": 2}):
        loaders = dict(zip(("training", "validation"), zoo.loaders(), strict=True))
        loaders[part] = (batch for batch in loaders[part])
        if part == "training" and options["n_epoch"] == 1:
            assert len(zoo.trainer(**options).fit(*loaders.values())) == 2
            continue
        said = f"In the {part} data.*An iterator can be walked once only: give a list or a loader"
        assert_refused(zoo.trainer(**options), loaders["validation"], said, train=loaders["training"])


def test_a_generator_that_was_used_up_is_refused_before_the_first_step():
    """One validation may read a generator, of which each batch is measured; one that was walked before is named."""
    used_up = validation("generator")
    assert len(list(used_up)) == 3
    assert_refused(zoo.trainer(n_epoch=1), used_up, "yields no batch: there is nothing to evaluate. The generator has been walked before")
    by_list, by_generator = (zoo.trainer(n_epoch=1).fit(zoo.loaders()[0], validation(kind)) for kind in ("list", "generator"))
    assert by_list["auc"] == by_generator["auc"]


@pytest.mark.parametrize("value", [{"auc": 0.5}, (0.5, 0.4), None, np.zeros(3), "0.5", [0.5], 1j, torch.zeros(2)])
@pytest.mark.parametrize("kind", ["table", "list"])
def test_a_function_that_returns_no_number_is_refused_before_the_first_step(kind, value):
    """A dict, a tuple, None, an array, a text is named with its type."""

    def judge(y_true, y_pred):
        return value

    trainer = zoo.trainer()
    trainer.evaluate_fn = judge
    assert_refused(trainer, validation(kind), f"judge: the function must return one number; got {type(value).__name__}", TypeError)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), np.array([0.5]), 1, True, float("nan")])
def test_a_function_may_return_any_one_number(value):
    """Numbers of Python, numpy and torch, and NaN, train."""
    trainer = zoo.trainer(n_epoch=1)
    trainer.evaluate_fn = lambda y_true, y_pred: value
    assert len(trainer.fit(*zoo.loaders())) == 1


@pytest.mark.parametrize("function", [lambda y: 0.5, lambda y, p, weight: 0.5, lambda: 0.5, lambda *, y_true, y_pred: 0.5])
def test_a_function_of_other_arguments_is_refused_at_assignment(function):
    """A function that cannot be called with two arrays is named with its signature."""
    with pytest.raises(TypeError, match=r"called with two arrays, \(y_true, y_pred\); got <lambda>"):
        zoo.trainer().evaluate_fn = function
    with pytest.raises(TypeError, match=r"called with two arrays"):
        FunctionMetric(function)


def test_an_error_of_the_function_is_raised_before_the_first_step():
    """It is named with the function, and the original error is its cause."""

    def broken(y_true, y_pred):
        raise KeyError("threshold")

    for kind in ("table", "DataLoader"):
        trainer = zoo.trainer()
        trainer.evaluate_fn = broken
        assert_refused(trainer, validation(kind), "The function 'broken'.*raised KeyError.*threshold.*40 rows")
    trainer = zoo.trainer()
    trainer.evaluate_fn = broken
    with pytest.raises(ValueError, match="raised KeyError") as caught:
        trainer.fit(*zoo.loaders())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_function_that_needs_the_rows_of_the_validation_is_accepted(caplog):
    """A function that reads an array with one entry a row fails for four rows only; without a known number of rows there is a warning."""
    users = zoo.columns(40, seed=7)["user"]

    def per_user(y_true, y_pred):
        return float(np.bincount(users, weights=y_true * y_pred).max())

    for kind, n_warning in (("table", 0), ("DataLoader", 0), ("list", 1)):
        caplog.clear()
        trainer = zoo.trainer(n_epoch=1)
        trainer.evaluate_fn = per_user
        assert len(trainer.fit(zoo.loaders()[0], validation(kind))) == 1
        assert sum("for four made-up rows" in message for message in caplog.messages) == n_warning


class Failing(Metric):
    name, higher_is_better, keeps = "failing", True, ("y",)

    def keep(self, y_true, y_pred, weight, x):
        return {"y": y_true.clone()}

    def compute(self):
        return self.threshold


def test_a_metric_that_cannot_be_computed_is_refused_before_the_first_step():
    """A metric of the user's whose compute raises, or gives no number, is named."""
    assert_refused(zoo.trainer(metrics=["auc", Failing()]), validation("table"), r"The metric 'failing' \(Failing\) raised AttributeError")
    given = Failing()
    given.threshold = {"a": 1}
    assert_refused(zoo.trainer(metrics=["auc", given]), validation("table"), "failing: .* must return one number; got dict", TypeError)


def test_the_trial_call_does_not_count(tmp_path):
    """Counters of the function, its random numbers and those of the process are as if it had not been called."""
    calls, rng = [], np.random.default_rng(0)

    def sampled(y_true, y_pred):
        calls.append(len(y_true))
        rows = rng.permutation(len(y_true))[:30]
        np.random.rand(), torch.rand(1)
        return roc_auc_score(y_true[rows], y_pred[rows]) if len(np.unique(y_true[rows])) == 2 else 0.5

    trainer = zoo.trainer(val_every=2)
    trainer.evaluate_fn = sampled
    history = trainer.fit(*zoo.loaders())
    assert calls == [40] * len(history)
    expected = np.random.default_rng(0)
    for _ in calls:
        expected.permutation(40)
    assert rng.bit_generator.state == expected.bit_generator.state


class Drawing(torch.utils.data.Dataset):
    """Rows that draw from every random generator, and count their reads."""

    def __init__(self):
        self.x, self.y = zoo.tensors(40, 7)
        self.n_read, self.order, self.numpy = 0, list(range(40)), np.random.default_rng(0)

    def __len__(self):
        return 40

    def __getitem__(self, row):
        self.n_read += 1
        noise = torch.rand(()) + np.random.rand() + self.numpy.random()
        x = {name: column[row] for name, column in self.x.items()}
        return {**x, "age": x["age"] + 0.01 * float(noise)}, self.y[row]


@pytest.mark.parametrize("n_worker", [0, 1])
def test_looking_at_the_first_batch_changes_no_bit(n_worker, monkeypatch):
    """A run with a shuffled validation loader that draws from all generators has the bits of a run without the checks."""

    def run():
        torch.manual_seed(5)
        np.random.seed(5)
        dataset, generator = Drawing(), torch.Generator().manual_seed(3)
        workers = {"num_workers": n_worker, "persistent_workers": n_worker > 0}
        val = DataLoader(dataset, batch_size=16, shuffle=True, generator=generator, **workers)
        trainer = zoo.trainer(n_epoch=2 if n_worker == 0 else 1)
        history = trainer.fit(DataLoader(TorchDataset(*[zoo.columns(), zoo.labels(zoo.columns())]), batch_size=16, shuffle=True), val)
        random = torch.get_rng_state().sum().item(), generator.get_state().sum().item(), np.random.rand(), dataset.numpy.random()
        return zoo.copy_of(trainer.model.state_dict()), history["auc"], random, dataset.n_read

    checked = run()
    monkeypatch.setattr("torch_rechub.trainers.trainer.check_validation", lambda trainer, val: None)
    unchecked = run()
    assert zoo.same(checked[0], unchecked[0])
    assert checked[1:] == unchecked[1:]


class Unsaveable(Callback):
    def state_dict(self):
        return {"lock": threading.Lock()}


class Raising(Callback):
    def state_dict(self):
        return {"seen": self.seen}


@pytest.mark.parametrize(
    ("callback", "said"), [(Unsaveable, r"state\['lock'\] cannot be saved: it is a lock"), (Raising, "AttributeError")]
)
def test_a_state_that_cannot_be_saved_is_refused_before_the_first_step(tmp_path, callback, said):
    """Where a run is to be resumable its state is collected once, without a write; without saves nothing is asked of the callback."""
    trainer = zoo.trainer(callbacks=[callback()], model_path=tmp_path)
    with pytest.raises(TypeError, match=f"state of the callback {callback.__name__} cannot be saved.*{said}"):
        trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.state.step == 0
    assert not list(tmp_path.glob("**/*.*"))
    assert len(zoo.trainer(callbacks=[callback()], n_epoch=1).fit(*zoo.loaders())) == 1


def test_an_evaluate_of_a_subclass_is_not_asked_for_its_metrics():
    """A trainer that measures by its own evaluate takes labels that its metrics would not."""

    class Own(type(zoo.trainer())):
        def evaluate(self, model, data_loader):
            return 0.5

    trainer = Own(zoo.model(), model_path=None, progress=False, n_epoch=1)
    assert trainer.fit(zoo.loaders()[0], validation("table", spoil=lambda x, y: y.__setitem__(3, SOFT)))["auc"] == [0.5]


def test_checks_store_nothing_in_the_metric():
    """The metric of the trainer holds no rows after ``fit``."""
    metric = AUC()
    trainer = zoo.trainer(metrics=[metric], n_epoch=1)
    trainer.fit(*zoo.loaders())
    assert all(not each.state_dict() for each in trainer.scoring.metrics)
