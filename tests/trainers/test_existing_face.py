"""Every public name of the existing package (torch-rechub 0.9.0) is here with its arguments, or named on the migration pages."""

import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch
import zoo
from torch.utils.data import DataLoader

from torch_rechub.basic.features import SequenceFeature
from torch_rechub.basic.layers import InteractingLayer
from torch_rechub.data import DataGenerator, MatchDataGenerator

LINES = Path(__file__).with_name("existing_face.txt").read_text().splitlines()
PAGES = [(Path(__file__).parents[2] / "docs" / language / "migration.md").read_text() for language in ("en", "zh")]
#: Public attributes of instances there.
ATTRIBUTES = {
    "trainer": (
        lambda: zoo.trainer(),
        "model gpus device optimizer scheduler loss_mode criterion evaluate_fn n_epoch early_stopper model_path reg_loss_fn model_logger",
    ),
    "stopper": (lambda: zoo.trainer().early_stopper, "patience mode trial_counter best_auc best_weights"),
    "model": (zoo.model, "deep_features fm_features deep_dims fm_dims linear fm embedding mlp"),
    "sparse": (lambda: zoo.USER, "name vocab_size embed_dim shared_with padding_idx initializer"),
    "dense": (lambda: zoo.AGE, "name embed_dim"),
    "sequence": (lambda: SequenceFeature("tags", 6, 4), "name vocab_size embed_dim pooling shared_with padding_idx initializer"),
    "generator": (lambda: DataGenerator(zoo.columns(), zoo.labels(zoo.columns())), "dataset length"),
    "matching": (lambda: MatchDataGenerator(zoo.columns()), "dataset"),
    "interacting": (lambda: InteractingLayer(8, 2), "embed_dim num_heads head_dim scale residual W_Q W_K W_V W_Res dropout"),
}


def value_of(path):
    """The object at a dotted path below the package; None where there is none."""
    parts = path.split(".")
    for n in range(len(parts) - 1, 0, -1):
        try:
            module = importlib.import_module(".".join(["torch_rechub", *parts[:n]]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(lambda value, name: getattr(value, name, None), parts[n:], module)
    return None


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition("(")[0])
def test_a_name_of_the_existing_package_is_here_or_on_the_migration_pages(line):
    """What is here takes the same arguments in the same order; what is not is named on both migration pages."""
    path, _, arguments = line.removesuffix(")").partition("(")
    value = value_of(path)
    if value is None:
        owners = [part for part in path.split(".") if part[0].isupper() or part == path.split(".")[-1]]
        for page in PAGES:
            assert any(re.search(rf"`[^`]*\b{name}\b[^`]*`", page.split("## ")[-1]) for name in owners), (
                f"{path} is neither here nor on the page"
            )
        return
    names = [*inspect.signature(value).parameters]
    names = names[1:] if names[:1] == ["self"] else names
    expected = [name for name in arguments.split() if not name.startswith("*")]
    assert names[: len(expected)] == expected


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_attributes_of_the_existing_package_can_be_read(kind):
    """Every public attribute that an instance has there can be read here."""
    make, names = ATTRIBUTES[kind]
    instance = make()
    assert [name for name in names.split() if not hasattr(instance, name)] == []


def test_the_rows_of_a_generator_are_a_data_set():
    """A DataLoader over ``DataGenerator.dataset`` yields all rows with their labels, and trains."""
    x = zoo.columns()
    generator = DataGenerator(x, zoo.labels(x))
    batches = [*DataLoader(generator.dataset, 10)]
    assert torch.equal(torch.cat([y for _, y in batches]), torch.from_numpy(zoo.labels(x)))
    assert torch.equal(torch.cat([columns["item"] for columns, _ in batches]), torch.from_numpy(x["item"]))
    assert len(generator.dataset) == generator.length
    zoo.trainer(n_epoch=1).fit(DataLoader(generator.dataset, 10))
