"""Objectives of other tasks and rankings of a catalogue are checked before the first step as far as they are known, without the model."""

import logging

import numpy as np
import pytest
import tasks
import torch
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback
from torch_rechub.basic.metric import GAUC
from torch_rechub.data import Table, TableLoader
from torch_rechub.engine import CatalogueScorer


def assert_refused(trainer, loaders, said):
    """``fit`` raises before the first step, and neither weights nor random states have changed."""
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    with pytest.raises(ValueError, match=said):
        trainer.fit(*loaders)
    assert trainer.state.step == 0
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]


def spoiled(task, at, value, second=None):
    """Loaders of a task, with one entry of the validation's first batch replaced."""
    train, val = tasks.loaders_of(task)
    parts = list(val[0])
    parts[at] = parts[at].clone()
    parts[at][3 if second is None else (3, second)] = value
    return train, [tuple(parts), *val[1:]]


@pytest.mark.parametrize("value", [tasks.N_ITEM, -2])
def test_targets_outside_of_the_catalogue_are_refused(value):
    """Both as the batch's second entry, and by a function of the batch."""
    assert_refused(tasks.trainer_of("two towers"), spoiled("two towers", 1, value), f"relevant rows must be < 20.*got {value} for user 3")
    assert_refused(tasks.trainer_of("next item"), spoiled("next item", 3, value, -1), f"relevant rows must be < 20.*got {value} for user 3")


def test_targets_that_are_missing_are_refused():
    """A batch without a second entry needs relevant=."""
    train, val = tasks.loaders_of("two towers")
    assert_refused(tasks.trainer_of("two towers"), (train, [(user, None) for user, _ in val]), "In the validation data: .*without y")


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (lambda batch: batch[1] + 15, "seen rows must be < 20"),
        (lambda batch: batch[1][:2], "seen must be .* of 10 users; got"),
        (lambda batch: batch[1].float(), "seen must be .* int64"),
    ],
)
def test_seen_items_that_cannot_be_masked_are_refused(seen, said):
    """Rows outside of the catalogue, of other users, or no whole numbers."""
    trainer = tasks.RetrievalTrainer(tasks.Towers(), metrics=CatalogueScorer([torch.arange(20)], ["recall@3"], seen=seen), model_path=None)
    assert_refused(trainer, tasks.loaders_of("two towers"), said)


def test_an_empty_catalogue_is_refused():
    """There must be an item."""
    trainer = tasks.RetrievalTrainer(tasks.Towers(), metrics=CatalogueScorer([], ["recall@3"]), model_path=None)
    assert_refused(trainer, tasks.loaders_of("two towers"), "at least one item")


def test_all_rows_of_our_own_loaders_are_checked():
    """A wrong target in the last batch of a table is found, and of a foreign loader in its first batch only."""
    targets = torch.arange(40) % 20
    targets[39] = 20
    scorer = CatalogueScorer([torch.arange(20)], ["recall@3"], relevant=lambda batch: batch[0]["target"])
    trainer = tasks.RetrievalTrainer(tasks.Towers(), metrics=scorer, model_path=None)
    table = TableLoader(Table.from_columns({"user": torch.arange(40) % 12, "target": targets}, torch.zeros(40)), batch_size=8)
    assert_refused(trainer, (tasks.loaders_of("two towers")[0], table), "got 20 for user 7")


def test_checks_draw_and_keep_nothing():
    """Shuffled items, a function that counts its calls and a random one leave no trace: the run is bit for bit as without the check."""
    calls = []

    def seen(batch):
        calls.append(len(batch[1]))
        return torch.randint(tasks.N_ITEM, (len(batch[1]), 2))

    class Counts(Callback):
        def on_fit_begin(self, trainer):
            self.n = len(calls)
            self.state = torch.get_rng_state()

    items = DataLoader(torch.arange(tasks.N_ITEM), batch_size=6, shuffle=True)
    counts = Counts()
    scorer = CatalogueScorer(items, ["recall@3"], seen=seen)
    trainer = tasks.RetrievalTrainer(tasks.Towers(), metrics=scorer, model_path=None, n_epoch=1, progress=False, callbacks=[counts])
    before = torch.get_rng_state()
    trainer.fit(*tasks.loaders_of("two towers"))
    assert counts.n == 0
    assert torch.equal(counts.state, before)
    assert len(calls) == 4


def test_a_task_of_metrics_that_the_objective_lacks_is_named():
    """Metrics of a task that is not judged name the closest one."""
    trainer = tasks.MultiTaskTrainer(tasks.TwoHeads(), metrics={"clck": ["auc"]}, model_path=None, n_epoch=1, progress=False)
    with pytest.raises(ValueError, match=r"the task 'clck'; the objective has .*Did you mean 'click'"):
        trainer.fit(*tasks.loaders_of("uncertainty"))


def test_ids_of_a_foreign_validation_loader_are_checked_for_every_objective():
    """The features of the model that the first batch holds are checked, whatever the objective is."""
    train, val = tasks.loaders_of("uncertainty")
    x = {name: column.clone() for name, column in val[0][0].items()}
    x["item"][4] = tasks.N_ITEM
    model = tasks.TwoHeads()
    model.features = tasks.FEATURES
    trainer = tasks.MultiTaskTrainer(model, metrics=tasks.by_task(), model_path=None)
    assert_refused(trainer, (train, [(x, val[0][1]), *val[1:]]), "In the validation data: SparseFeature 'item'.*got 20 at row 4")


def test_a_column_that_no_part_of_a_batch_holds_is_told_before_the_first_step(caplog):
    """Where only judge knows what it gives, one warning names the column, the closest one and what will happen."""
    metrics = {"click": ["auc", GAUC("usr")], "watch": ["rmse"]}
    trainer = tasks.MultiTaskTrainer(tasks.TwoHeads(), metrics=metrics, model_path=None, n_epoch=1, progress=False)
    with caplog.at_level(logging.WARNING), pytest.raises(ValueError, match="usr"):
        trainer.fit(*tasks.loaders_of("uncertainty"))
    assert caplog.text.count("gauc/click reads the column 'usr', which is in no part of the first batch") == 1
    assert "Did you mean 'user'? If TwoTasks.judge does not give it" in caplog.text
