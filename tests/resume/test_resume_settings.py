"""A run that is interrupted and resumed ends bit for bit as an uninterrupted one, with every setting besides the optimizer."""

from __future__ import annotations

import importlib
import random
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe, assert_resumes, assert_same, result
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from torch_rechub.basic.callback import EMA, SWA, EarlyStopper, LearningRate, NonFiniteGuard, ReinitEmbeddings
from torch_rechub.basic.features import DenseFeature
from torch_rechub.data import DataGenerator

sys.path.append(str(Path(__file__).parents[1] / "trainers"))
SCHEDULERS = importlib.import_module("test_schedulers").RECIPES
LINEAR = {"make": lambda: zoo.model(dims=[4])}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_resume_at_three_steps_of_every_scheduler(name, tmp_path):
    """Every schedule resumes within an epoch, at its end, and in the next one."""
    scheduler_fn, params, _ = SCHEDULERS[name]
    assert_resumes(Recipe(**LINEAR, scheduler_fn=scheduler_fn, scheduler_params=params, n_epoch=3), tmp_path, steps=(1, 4, 10))


#: Settings of a run; every pair of them is tested together.
SETTINGS = {
    "dropout": {"make": lambda: zoo.model(dropout=0.5)},
    "accumulate": {"accumulate": 2, "every": 1},
    "val_every": {"val_every": 2},
    "clip": {"clip_norm": 0.1},
    "regularization": {"regularization_params": {"embedding_l2": 1e-3, "dense_l2": 1e-3}},
    "weights": {"loaders": lambda: zoo.loaders(weight=np.linspace(0.1, 2, 64), weight_val=np.linspace(0.1, 2, 40))},
    "stop": {"callbacks": lambda: [EarlyStopper(1, min_delta=0.5)], "n_epoch": 3},
}


@pytest.mark.parametrize(("one", "other"), list(combinations(SETTINGS, 2)))
def test_resume_with_every_pair_of_settings(one, other, tmp_path):
    """A run resumes bit for bit with every pair of the settings."""
    assert_resumes(Recipe(**(SETTINGS[one] | SETTINGS[other])), tmp_path, steps=lambda n: {1, n // 2, n - 1})


#: Callbacks that have a state.
CALLBACKS = {
    "EMA": lambda: [EMA(0.9)],
    "SWA": lambda: [SWA(1)],
    "NonFiniteGuard": lambda: [NonFiniteGuard()],
    "ReinitEmbeddings": lambda: [ReinitEmbeddings()],
    "warm-up": lambda: [LearningRate(torch.optim.lr_scheduler.ExponentialLR, {"gamma": 0.5}, warmup=3)],
    "two schedules": lambda: [LearningRate({"embedding": (torch.optim.lr_scheduler.ExponentialLR, {"gamma": 0.5})})],
    "significance": lambda: [EarlyStopper(99, min_delta="significant")],  # whose stop would depend on the last bits
    "rows": lambda: [EarlyStopper("100 rows")],
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_resume_with_every_callback_that_has_a_state(name, tmp_path):
    """A run resumes bit for bit with averages, warm-ups, guards and references of significance."""
    assert_resumes(Recipe(**LINEAR, callbacks=CALLBACKS[name], n_epoch=3, val_every=2), tmp_path, steps=(1, 2, 5, 8, 9))


def test_resume_without_validation(tmp_path):
    """Without validation a run resumes bit for bit, and its history has one record an epoch."""
    assert_resumes(Recipe(loaders=lambda: (zoo.loaders()[0],)), tmp_path)


def test_resume_with_workers(tmp_path):
    """A run whose batches are made by worker processes resumes bit for bit."""

    def loaders():
        x, x_val = zoo.columns(48), zoo.columns(24, seed=7)
        generator = DataGenerator(x, zoo.labels(x))
        return generator.generate_dataloader(x_val, zoo.labels(x_val, 7), batch_size=16, seed=3, num_workers=1)[:2]

    expected = assert_resumes(Recipe(loaders=loaders), tmp_path, steps=(2,))
    assert_same(result(Recipe(loaders=lambda: zoo.loaders(48, n_val=24)).start(tmp_path / "plain", None)), expected)


def test_resume_with_a_seed_that_was_drawn(tmp_path):
    """Where the loader drew its own seed, the saved seed is used, also in the third part of a run."""

    def loaders():
        x, x_val = zoo.columns(), zoo.columns(40, seed=7)
        return DataGenerator(x, zoo.labels(x)).generate_dataloader(x_val, zoo.labels(x_val, 7), batch_size=16)[:2]

    recipe = Recipe(loaders=loaders)
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    for seed, resume, step in ((1, None, 2), (50, "auto", 3), (60, "auto", 5)):
        with pytest.raises(Interrupted):
            recipe.start(tmp_path / "parts", resume, InterruptAt(step), seed=seed)
    assert_same(result(recipe.start(tmp_path / "parts", "auto", seed=70)), expected)


class Noisy(Dataset):
    """Rows with noise that each access draws anew, from all three random states."""

    def __len__(self):
        return 40

    def __getitem__(self, i):
        noise = torch.randn(()) + np.random.rand() + random.random()
        return {"age": torch.tensor(i / 40) + noise}, torch.tensor(float(i % 3 == 0))


class OneFeature(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = [DenseFeature("age")]
        self.linear = nn.Sequential(nn.Dropout(0.3), nn.Linear(1, 1))

    def forward(self, x):
        return torch.sigmoid(self.linear(x["age"].float()[:, None])[:, 0])


def tensor_loader(**options):
    x = torch.linspace(-1, 1, 40)
    return DataLoader(TensorDataset(x, (x > 0.2).float()), batch_size=8, collate_fn=collated, **options)


def collated(rows):
    return {"age": torch.stack([x for x, _ in rows])}, torch.stack([y for _, y in rows])


FOREIGN = {
    "shuffled": lambda: tensor_loader(shuffle=True),
    "own generator": lambda: tensor_loader(shuffle=True, generator=torch.Generator().manual_seed(5)),
    "sampler": lambda: tensor_loader(sampler=torch.utils.data.WeightedRandomSampler([1.0, 2.0] * 20, 30)),
    "sampler's generator": lambda: tensor_loader(sampler=torch.utils.data.RandomSampler(range(40), generator=torch.Generator())),
    "workers": lambda: tensor_loader(shuffle=True, num_workers=1),
    "noise": lambda: DataLoader(Noisy(), batch_size=8, shuffle=True),
    "list": lambda: list(tensor_loader()),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_resume_with_a_foreign_loader(name, tmp_path):
    """torch's own loaders are read again from the epoch's start, and random numbers of training are not disturbed."""

    def make():
        torch.manual_seed(0)
        return OneFeature()

    recipe = Recipe(make, lambda: (FOREIGN[name](), tensor_loader()), optimizer_fn=torch.optim.Adam)
    assert_resumes(recipe, tmp_path, steps=(3,) if name == "workers" else None)


def test_foreign_epochs_are_shuffled_differently(tmp_path):
    """A foreign loader has the order that torch alone would draw, which differs from epoch to epoch."""
    seen = []

    class Seen(OneFeature):
        def forward(self, x):
            if self.training:
                seen.append(x["age"].clone())
            return super().forward(x)

    recipe = Recipe(Seen, lambda: (tensor_loader(shuffle=True),))
    recipe.start(tmp_path, None)
    assert not torch.equal(torch.cat(seen[:5]), torch.cat(seen[5:]))
    torch.manual_seed(2)
    assert torch.equal(torch.cat(seen[:5]), torch.cat([x["age"] for x, _ in tensor_loader(shuffle=True)]))


def test_resume_with_everything_at_once_and_twice(tmp_path):
    """A run with all settings together that is interrupted twice resumes bit for bit."""
    recipe = Recipe(
        make=lambda: zoo.model(dropout=0.5),
        accumulate=3,
        val_every=1,
        clip_norm=1.0,
        callbacks=lambda: [EMA(0.9), NonFiniteGuard()],
        scheduler_fn=torch.optim.lr_scheduler.CosineAnnealingLR,
        scheduler_params={"T_max": 4},
        n_epoch=3,
    )
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    for resume, step, seed in ((None, 2, 1), ("auto", 4, 50), ("auto", 5, 60)):
        with pytest.raises(Interrupted):
            recipe.start(tmp_path / "parts", resume, InterruptAt(step), seed=seed)
    assert_same(result(recipe.start(tmp_path / "parts", "auto", seed=99)), expected)


def test_a_stop_decided_before_a_save_is_kept(tmp_path):
    """A run whose stopper decided to stop in the validation before the save makes no further step when it is resumed."""
    recipe = Recipe(callbacks=lambda: [EarlyStopper(1, min_delta=0.9)], n_epoch=5)
    uninterrupted = recipe.start(tmp_path, None)
    assert uninterrupted.history.stop_reason is not None
    again = recipe.start(tmp_path, "auto", seed=9)
    assert again.state.step == uninterrupted.state.step == 8
    assert_same({**result(again), **{k: result(uninterrupted)[k] for k in ("torch", "numpy", "python")}}, result(uninterrupted))


def test_an_ended_run_returns_at_once_and_continues_with_more_epochs(tmp_path, caplog):
    """An ended run returns its history and best weights without a step, and a larger n_epoch continues it."""
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "five", None, n_epoch=5))
    short = recipe.start(tmp_path / "short", None, n_epoch=3)
    again = recipe.start(tmp_path / "short", "auto", InterruptAt(0), InterruptAt(12), n_epoch=3, seed=9)
    assert zoo.same(again.model.state_dict(), short.model.state_dict())
    assert repr(again.history.records) == repr(short.history.records)
    caplog.set_level("INFO", "torch_rechub")
    longer = recipe.start(tmp_path / "short", "auto", n_epoch=5, seed=10)
    assert_same(result(longer), expected)
    assert "resuming with another n_epoch: 5, it was 3" in caplog.text


def test_a_request_for_a_validation_survives_the_save(tmp_path):
    """A validation that was requested at the end of an epoch follows the next step, also in the resumed run."""

    class AskAtEnd(zoo.Watch):
        def on_epoch_end(self, trainer):
            trainer.request_validation()

    uninterrupted = Recipe(callbacks=lambda: [AskAtEnd()])
    expected = assert_resumes(uninterrupted, tmp_path, steps=(3, 4, 5))
    assert expected["history"].count("'auc'") == 3
