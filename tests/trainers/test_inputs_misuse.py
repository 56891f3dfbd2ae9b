"""A wrong input is an error that names the feature, the row and the remedy, and changes no weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zoo
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback
from torch_rechub.basic.features import SparseFeature
from torch_rechub.data import DataGenerator, Table, TableLoader, TorchDataset
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, evaluate, train_one_epoch

ROW = 37  # row 5 of the third batch of 16


def spoil(x, y, kind):
    """Rows with one mistake, and the expected error; {row} stands for the row."""
    x, y = {name: column.copy() for name, column in x.items()}, y.copy()
    if kind == "too large":
        x["item"][ROW] = 20
        return x, y, r"SparseFeature 'item': ids must be < vocab_size=20; got 20 at row {row}.*Use vocab_size=21 or re-encode from 0"
    if kind == "negative":
        x["user"][ROW] = -1
        return x, y, r"SparseFeature 'user': ids must be >= 0; got -1 at row {row}.*Re-encode from 0"
    if kind == "in a sequence":
        x["tags"][ROW, 1] = 6
        return x, y, r"SequenceFeature 'tags': ids must be < vocab_size=6; got 6 at row {row}"
    if kind == "NaN":
        x["age"][ROW] = np.nan
        return x, y, r"DenseFeature 'age': values must be finite; got a missing value \(NaN\) at row {row}.*Fill missing values"
    if kind == "infinite":
        x["taste"][ROW, 0] = np.inf
        return x, y, r"DenseFeature 'taste': values must be finite; got inf at row {row}"
    if kind == "label 2":
        y[ROW] = 2
        return x, y, r"Labels must lie in \[0, 1\]; got 2 at row {row}.*Map them to 0 and 1"
    if kind == "label NaN":
        y[ROW] = np.nan
        return x, y, r"Labels must be finite; got a missing value \(NaN\) at row {row}"
    assert kind == "missing"
    return {name.replace("item", "itm"): column for name, column in x.items()}, y, r"SparseFeature 'item'.*Did you mean 'itm'"


KINDS = ["too large", "negative", "in a sequence", "NaN", "infinite", "label 2", "label NaN", "missing"]
IDS_AND_NUMBERS = [kind for kind in KINDS if "label" not in kind]


def bad_rows(kind, where):
    x, y, said = spoil(zoo.columns(64), zoo.labels(zoo.columns(64)), kind)
    row = f"{ROW}\\b" if where == "table" else f"{ROW - 32} of the batch"
    return x, y, said.replace("{row}", row)


class Watched(Callback):
    def __init__(self):
        self.n_batch = 0

    def on_batch_begin(self, trainer):
        self.n_batch += 1


@pytest.mark.parametrize("part", ["training", "validation"])
@pytest.mark.parametrize("kind", KINDS)
def test_our_loaders_are_checked_before_the_first_step(tmp_path, kind, part):
    """fit refuses a bad training or validation table before a batch is read, with no weight changed and no folder made."""
    x, y, said = bad_rows(kind, "table")
    loaders = dict(zip(("training", "validation"), zoo.loaders(), strict=True))
    loaders[part] = TableLoader(Table.from_columns(x, y), batch_size=16, shuffle=True, seed=0)
    watched = Watched()
    trainer = zoo.trainer(model_path=tmp_path / "saved", callbacks=[watched])
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(ValueError, match=f"In the {part} data: {said}"):
        trainer.fit(*loaders.values())
    assert watched.n_batch == 0
    assert zoo.same(trainer.model.state_dict(), before)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_batch_of_a_foreign_loader_changes_no_weight(kind):
    """With a plain DataLoader whose third batch is bad, fit raises, and the weights are those after two steps."""
    x, y, said = bad_rows(kind, "batch")
    watch = zoo.Watch()
    trainer = zoo.trainer(callbacks=[watch])
    with pytest.raises(ValueError, match=said):
        trainer.fit(DataLoader(TorchDataset(x, y), batch_size=16))
    assert len(watch.at_batch) == (0 if kind == "missing" else 2)
    if watch.at_batch:
        assert zoo.same(trainer.model.state_dict(), watch.at_batch[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_foreign_validation_batch_keeps_the_last_weights(kind):
    """A bad third validation batch raises in the first validation, and the model has its last weights; a bad first one raises before."""
    x, y, said = bad_rows(kind, "batch")
    watch = zoo.Watch()
    trainer = zoo.trainer(callbacks=[watch])
    if "label" in kind:
        said = "(?i)label"
    with pytest.raises(ValueError, match=said):
        trainer.fit(zoo.loaders()[0], DataLoader(TorchDataset(x, y), batch_size=16))
    assert len(watch.at_batch) == (0 if kind == "missing" else 4)
    if watch.at_batch:
        assert zoo.same(trainer.model.state_dict(), watch.at_batch[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_batch_in_a_hand_written_loop_changes_no_weight(kind):
    """model(batch) and train_one_epoch raise before a gradient or a buffer has changed."""
    x, y, said = bad_rows(kind, "batch")
    model = zoo.model()
    optimizer = torch.optim.Adam(model.parameters())
    batches = [*DataLoader(TorchDataset(x, y), batch_size=16)]
    packed = [*TableLoader(Table.from_columns(x, y), batch_size=16)]
    before = zoo.copy_of(model.state_dict())
    for batch in (batches[2], packed[2]):
        with pytest.raises(ValueError, match=said):
            model(batch)
        with pytest.raises(ValueError, match=said):
            train_one_epoch(model, [batch], optimizer)
    assert zoo.same(model.state_dict(), before)


@pytest.mark.parametrize("kind", IDS_AND_NUMBERS)
def test_bad_rows_are_refused_in_predict_and_evaluate(kind):
    """predict, evaluate and model(x) refuse the same rows, from our loader and from another one."""
    x, y, said = bad_rows(kind, "batch")
    trainer = zoo.trainer()
    ours, other = TableLoader(Table.from_columns(x, y), batch_size=16), DataLoader(TorchDataset(x, y), batch_size=16)
    unseen = "The model was trained without it"
    for read in (trainer.predict, trainer.evaluate, evaluate):
        by_trainer = said.replace("Use vocab_size=21 or re-encode from 0", unseen) if read is not evaluate else said
        with pytest.raises(ValueError, match=by_trainer):
            read(trainer.model, other)
        in_table = by_trainer.replace(f"row {ROW % 16} of the batch", f"row {ROW}") if read is not evaluate else said
        with pytest.raises(ValueError, match=in_table):
            read(trainer.model, ours)
    with pytest.raises(ValueError, match=said.split(" at row")[0].split("; got")[0]):
        trainer.model({name: torch.from_numpy(column) for name, column in x.items()})


def test_labels_outside_0_and_1_need_an_assigned_criterion():
    """Only the default criterion requires labels in [0, 1]; a label that is NaN is always refused."""
    x = zoo.columns()
    y = zoo.labels(x) * 5
    for loader in (TableLoader(Table.from_columns(x, y), 16), DataLoader(TorchDataset(x, y), 16)):
        trainer = zoo.trainer(metrics=["rmse"], n_epoch=1)
        trainer.criterion = torch.nn.MSELoss()
        assert trainer.fit(loader, loader)["rmse"][0] > 0
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            zoo.trainer(metrics=["rmse"]).fit(loader)
    y[3] = np.nan
    for loader in (TableLoader(Table.from_columns(x, y), 16), DataLoader(TorchDataset(x, y), 16)):
        trainer = zoo.trainer(metrics=["rmse"], n_epoch=1)
        trainer.criterion = torch.nn.MSELoss()
        with pytest.raises(ValueError, match=r"Labels must be finite; got a missing value \(NaN\) at row 3"):
            trainer.fit(loader)


def test_bad_labels_change_no_buffer_of_a_users_module():
    """Labels are checked before the module runs, so that batch norm's statistics do not change."""
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1), torch.nn.Sigmoid())
    before = zoo.copy_of(module.state_dict())
    with pytest.raises(ValueError, match="Labels must lie"):
        zoo.trainer(module).fit([(torch.randn(4, 3), torch.tensor([0.0, 1, 1, 2]))])
    assert zoo.same(module.state_dict(), before)


@pytest.mark.parametrize(
    ("train", "val", "error", "said"),
    [
        ([], None, ValueError, "In the training data: the loader has no batches"),
        (iter([]), None, ValueError, "The training loader yields no batch"),
        (None, None, TypeError, "The training data must be a loader"),
        (7, None, TypeError, "The training data must be a loader"),
        ("good", [], ValueError, "In the validation data: the loader has no batches"),
        ("good", iter([]), ValueError, "yields no batch: there is nothing to evaluate"),
        ("good", 7, TypeError, "The validation data must be a loader"),
        ([{"user": torch.zeros(2)}], None, ValueError, "Training needs labels"),
        ([7], None, TypeError, r"A batch must be \(x, y\)"),
        ([(1, 2, 3, 4)], None, TypeError, "of length 4"),
    ],
)
def test_what_is_no_loader_is_refused(train, val, error, said):
    """No rows, no labels and no loader each have their own message."""
    with pytest.raises(error, match=said):
        zoo.trainer(n_epoch=1).fit(zoo.loaders()[0] if train == "good" else train, val)


def test_lengths_and_splits_that_do_not_fit_are_refused():
    """Columns of different lengths, missing or too few labels, and an empty split are errors of the data classes."""
    x = zoo.columns(8)
    for columns, y, said in (
        ({**x, "age": x["age"][:7]}, np.zeros(8), "one length"),
        (x, np.zeros(7), "one length"),
        (x, None, "needs labels"),
    ):
        with pytest.raises(ValueError, match=said):
            DataGenerator(columns, y)
    with pytest.raises(ValueError, match="must leave rows for"):
        DataGenerator(x, zoo.labels(x)).generate_dataloader(split_ratio=(0.05, 0.5))
    empty_test = DataGenerator(x, zoo.labels(x)).generate_dataloader(split_ratio=(0.5, 0.5), seed=0)[2]
    with pytest.raises(ValueError, match="no batches"):
        zoo.trainer().fit(empty_test)
    unlabelled = TableLoader(Table.from_columns(x), 4)
    with pytest.raises(ValueError, match="In the training data: the loader has no labels"):
        zoo.trainer().fit(unlabelled)
    with pytest.raises(ValueError, match="In the validation data: the loader has no labels"):
        zoo.trainer().fit(zoo.loaders()[0], unlabelled)


def test_scores_of_the_wrong_shape_are_refused():
    """A module that gives two columns for one label is an error."""
    with pytest.raises(ValueError, match=r"shape \(4, 2\) for labels of shape \(4,\)"):
        zoo.trainer(torch.nn.Linear(3, 2)).fit([(torch.randn(4, 3), torch.ones(4))])


def test_data_in_place_of_a_loader_is_refused():
    """Columns in place of a loader, and two columns of labels for one probability, are errors that name the remedy."""
    columns = {"a": torch.arange(40) % 4}
    feature = SparseFeature("a", 4, 2)
    trainer = CTRTrainer(DeepFM([feature], [feature], {"dims": [4]}), model_path=None, progress=False)
    with pytest.raises(TypeError, match=r"must be a loader.*got dict.*DataGenerator"):
        trainer.fit(columns)
    loader = DataGenerator(columns, torch.zeros(40, 2)).generate_dataloader(batch_size=8)[0]
    with pytest.raises(ValueError, match=r"Labels must be one column.*got \(8, 2\)"):
        trainer.fit(loader)


def test_an_exhausted_iterator_and_a_pair_are_refused():
    """A generator that is exhausted after one epoch, and a pair in place of a loader, are errors that name them."""
    columns, y = {"a": torch.arange(40) % 4}, torch.arange(40) % 2
    feature = SparseFeature("a", 4, 2)

    def make(**given):
        return CTRTrainer(DeepFM([feature], [feature], {"dims": [4]}), model_path=None, progress=False, **given)

    loader = DataGenerator(columns, y).generate_dataloader(batch_size=8, seed=0)[0]
    with pytest.raises(ValueError, match="An iterator can be walked once only: give a list or a loader"):
        make(n_epoch=3).fit(batch for batch in loader)
    with pytest.raises(TypeError, match=r"validation data must be a loader.*got tuple.*DataGenerator"):
        make().fit(loader, (columns, y))
    with pytest.raises(ValueError, match=r"scheduler_params.*needs a scheduler_fn"):
        make(scheduler_params={"gamma": 0.5})
    with pytest.raises(TypeError, match=r"optimizer_fn must be a class or function.*got 'adam'"):
        make(optimizer_fn="adam")
    with pytest.raises(TypeError, match=r"callbacks must be a list.*Put it in brackets"):
        make(callbacks=Callback())
    with pytest.raises(TypeError, match=r"x must be a mapping of columns.*got Tensor"):
        make().fit(DataLoader(torch.utils.data.TensorDataset(torch.zeros(8, 1), y[:8])))
