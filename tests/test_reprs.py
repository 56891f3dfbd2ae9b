"""Laws of what a notebook or a terminal shows of an object: one short line with its facts."""

import numpy as np
import pytest
import zoo
from public_face import public_classes

from torch_rechub.basic.callback import MetricLog
from torch_rechub.basic.tracking import JsonLinesLogger
from torch_rechub.data import DataGenerator, MatchDataGenerator, PredictDataset, TorchDataset, as_loader
from torch_rechub.datasets import load_adult, make_clicks
from torch_rechub.engine import CatalogueScorer
from torch_rechub.trainers import find_learning_rate


def trained():
    trainer = zoo.trainer(n_epoch=1)
    trainer.fit(*zoo.loaders())
    return trainer


OBJECTS = {
    "trainer": (zoo.trainer, "DeepFM, "),
    "trainer after fit": (trained, "1 of 1 epochs trained"),
    "state": (lambda: trained().state, "epoch=1"),
    "scoring": (lambda: zoo.trainer().scoring, "monitor='auc', max"),
    "loader": (lambda: zoo.loaders()[0], "shuffle=True, seed="),
    "loader without labels": (
        lambda: DataGenerator({"a": [1] * 9}, [0, 1, 1] * 3).generate_dataloader({"a": [1]}, [1], {"a": [1]})[2],
        "no lab",
    ),
    "list of batches": (lambda: as_loader([({}, 1)]), "ForeignLoader(list, 1 batch)"),
    "generator": (lambda: DataGenerator({"a": [1, 2]}, [0, 1]), "DataGenerator(Table(2 rows of 1 column: a, with labels))"),
    "match generator": (lambda: MatchDataGenerator({"a": [1, 2]}), "MatchDataGenerator(Table(2 rows"),
    "dataset": (lambda: TorchDataset({"a": np.arange(1000)}, np.zeros(1000)), "TorchDataset(1,000 rows of 1 column: a)"),
    "dataset without labels": (lambda: PredictDataset({str(i): [1] for i in range(300)}), "300 columns: 0, 1, 2"),
    "adult": (load_adult, "train=Split(29,305 rows"),
    "split": (lambda: load_adult().val, "Split(3,256 rows of 18 columns, 24."),
    "clicks": (lambda: make_clicks(100, n_dense=1, n_sparse=2), "100 rows, 1 dense columns, 2 sparse columns"),
    "metric log": (lambda: MetricLog([JsonLinesLogger("log.jsonl")]), "MetricLog(JsonLinesLogger('log.jsonl'))"),
    "scorer": (lambda: CatalogueScorer(items=[]), "recall@20, ndcg@20"),
    "finding": (lambda: find_learning_rate(zoo.trainer(), zoo.loaders()[0], 1e-4, 1.0, 20), "LearningRateFinding(suggestion "),
}


@pytest.mark.parametrize("value", [pytest.param(value, id=f"{package}.{value.__name__}") for package, value in public_classes()])
def test_class_has_a_repr_of_its_own(value):
    """No public class shows its address in memory in place of its facts."""
    assert value.__repr__ is not object.__repr__


@pytest.mark.parametrize(("make", "fact"), list(OBJECTS.values()), ids=list(OBJECTS))
def test_repr_is_one_line_of_facts(make, fact):
    """What users make is shown as one line that names its facts: no address, no array, no tensor, no list of numbers."""
    text = repr(make())
    assert fact in text
    assert len(text) < 400
    assert not any(part in text for part in ("object at 0x", "array(", "tensor(", "[0.", "\n")), text
