"""What would fail in the first validation or the first save is refused before the first step, and looking for it changes no bit."""

import threading

import numpy as np
import pytest
import torch
import zoo
from refusals import SOFT, assert_refused, validation
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback, EarlyStopper
from torch_rechub.basic.metric import GAUC
from torch_rechub.data import TorchDataset
from torch_rechub.engine import Judged, RowObjective
from torch_rechub.trainers import CTRTrainer

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


def test_parts_of_different_lengths_are_refused():
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
    monkeypatch.setattr("torch_rechub.engine.preparation.check_validation", lambda trainer, val: None)
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


def test_rows_that_a_judge_of_its_own_chooses_are_not_checked():
    """An objective whose judge leaves out rows without a label trains with labels and columns that the metrics would refuse."""

    class Known(RowObjective):
        def judge(self, batch):
            rows = super().judge(batch)["label"]
            known = rows.y != SOFT
            return {"label": Judged(rows.y[known], rows.prediction[known], None, {"user": rows.columns["user"][known]})}

    class Own(CTRTrainer):
        def make_objective(self, model):
            return Known(model, torch.nn.BCELoss())

    for kind in ("table", "list"):
        trainer = Own(zoo.model(), metrics=["auc", GAUC("user")], model_path=None, progress=False, n_epoch=1)
        assert len(trainer.fit(zoo.loaders()[0], validation(kind, spoil=lambda x, y: y.__setitem__(3, SOFT)))) == 1


def test_an_evaluate_of_a_subclass_is_not_asked_for_its_metrics():
    """A trainer that measures by its own evaluate takes labels that its metrics would not."""

    class Own(CTRTrainer):
        def evaluate(self, model, data_loader):
            return 0.5

    trainer = Own(zoo.model(), model_path=None, progress=False, n_epoch=1)
    assert trainer.fit(zoo.loaders()[0], validation("table", spoil=lambda x, y: y.__setitem__(3, SOFT)))["auc"] == [0.5]
