"""Only the same run resumes: a difference is named and changes nothing, and a permitted one is logged."""

from __future__ import annotations

import functools
import random
import shutil

import numpy as np
import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe, assert_same, result

from torch_rechub.basic.callback import EMA
from torch_rechub.data import DataGenerator
from torch_rechub.optim import SGD, AdamW, use_kernels
from torch_rechub.storage.saves import SaveFolder
from torch_rechub.trainers import CTRTrainer


def other_data(**changes):
    """The usual loaders with something about the data changed."""

    def loaders():
        x, x_val = zoo.columns(), zoo.columns(40, seed=7)
        y, y_val = zoo.labels(x), zoo.labels(x_val, 7)
        for name, change in changes.items():
            if name in x:
                x[name] = change(x[name])
        y = changes.get("y", lambda y: y)(y)
        if "name" in changes:
            x, x_val = {**x, "more": x["age"]}, {**x_val, "more": x_val["age"]}
        options = {"batch_size": 16, "seed": 3} | {key: changes[key] for key in ("batch_size", "seed") if key in changes}
        return DataGenerator(x, y, changes.get("weight")).generate_dataloader(x_val, y_val, **options)[:2]

    return loaders


def bumped(column):
    column = column.copy()
    column[5] = (column[5] + 1) % 12
    return column


#: what is changed -> (how, what the error says)
REFUSED = {
    "model's class of activation": ({"make": lambda: zoo.model(dropout=0.3)}, r"p of mlp\.mlp\.\d was 0\.2 and is 0\.3"),
    "model's width": (
        {"make": lambda: zoo.model(dims=[6])},
        r"out_features of mlp\.mlp\.0 was 8 and is 6",
    ),
    "an id": ({"loaders": other_data(user=bumped)}, r"content of ids of the training data was '\w+' and is '\w+'"),
    "a number": ({"loaders": other_data(age=lambda age: age + np.float32(1e-6))}, r"content of numbers of the training data"),
    "a label": ({"loaders": other_data(y=lambda y: 1 - y)}, r"content of y of the training data"),
    "weights": ({"loaders": other_data(weight=np.ones(64))}, r"content of weight of the training data was None"),
    "columns": ({"loaders": other_data(name=True)}, r"columns of the training data was .* and is .*'more'"),
    "rows": ({"loaders": lambda: zoo.loaders(80)}, r"rows of the training data was 64 and is 80"),
    "validation rows": ({"loaders": lambda: zoo.loaders(n_val=30)}, r"rows of the validation data was 40 and is 30"),
    "no validation": ({"loaders": lambda: zoo.loaders()[:1]}, r"validation data was 'given' and is 'none'"),
    "batch size": (
        {"loaders": other_data(batch_size=8)},
        r"batches of the training data was 4 and is 8; batch_size of the",
    ),
    "seed": (
        {"loaders": other_data(seed=4)},
        r"seed of the training data was 3 and is 4\. Make them equal to resume",
    ),
    "optimizer": ({"optimizer_fn": SGD}, r"optimizer was 'Adam' and is 'SGD'"),
    "another of ours": ({"optimizer_fn": AdamW}, r"optimizer was 'Adam' and is 'AdamW'"),
    "rate": ({"optimizer_params": {"lr": 0.1}}, r"lr of the optimizer was 0\.05 and is 0\.1"),
    "decay": ({"optimizer_params": {"lr": 0.05, "weight_decay": 0.1}}, r"weight_decay of the optimizer was 0\.0 and is 0\.1"),
    "penalty": ({"regularization_params": {"dense_l2": 0.1}}, r"dense_l2 of regularization was 0\.0 and is 0\.1"),
    "accumulation": ({"accumulate": 2}, r"accumulate was 1 and is 2"),
    "clipping": ({"clip_norm": 1.0}, r"clip_norm was None and is 1\.0"),
    "validations": ({"val_every": 2}, r"val_every was None and is 2"),
    "metrics": ({"metrics": ["logloss"]}, r"metrics was .* monitor was 'auc' and is 'logloss'"),
    "schedule": (
        {"scheduler_fn": torch.optim.lr_scheduler.ExponentialLR, "scheduler_params": {"gamma": 0.5}},
        r"scheduler_fn of LearningRate was None and is 'ExponentialLR'",
    ),
    "callbacks": ({"callbacks": lambda: [EMA(0.9)]}, r"callbacks was .* and is .*'EMA'"),
}


@pytest.fixture(scope="module")
def interrupted_run(tmp_path_factory):
    """A run that was interrupted after step 3."""
    folder = tmp_path_factory.mktemp("interrupted_run")
    with pytest.raises(Interrupted):
        Recipe().start(folder, None, InterruptAt(3))
    return folder


@pytest.mark.parametrize("name", REFUSED)
def test_another_run_is_refused_and_named(name, interrupted_run, tmp_path):
    """The error names what differs, and model, optimizer, loader, random states and the saves are unchanged."""
    changes, message = REFUSED[name]
    folder = shutil.copytree(interrupted_run, tmp_path / "run")
    recipe = Recipe(**changes)
    attempts = []

    class StoresStates(zoo.Watch):
        part_of_run = False

        def on_fit_begin(self, trainer):
            state = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
            attempts.append((trainer, zoo.copy_of(trainer.model.state_dict()), state))

    with pytest.raises(ValueError, match=f"The saved run is another one: .*{message}"):
        recipe.start(folder, "auto", StoresStates())
    trainer, weights, state = attempts[0]
    assert zoo.same(trainer.model.state_dict(), weights)
    assert trainer.state.step == 0
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == state[1:]
    assert SaveFolder(folder / "resume").names() == SaveFolder(interrupted_run / "resume").names()


def test_another_criterion_is_refused(interrupted_run, tmp_path):
    """A criterion that differs in a setting outside its repr is refused, and an equal new instance is accepted."""

    def resume_with(folder, criterion, resume="auto"):
        trainer = zoo.trainer(model_path=folder, callbacks=[])
        trainer.criterion = criterion
        return trainer.fit(*zoo.loaders(), resume=resume)

    with pytest.raises(ValueError, match="criterion"):
        resume_with(shutil.copytree(interrupted_run, tmp_path / "run"), torch.nn.MSELoss())
    resume_with(tmp_path / "criterion", torch.nn.SmoothL1Loss(beta=0.5))
    assert resume_with(tmp_path / "criterion", torch.nn.SmoothL1Loss(beta=0.5)) is not None
    with pytest.raises(ValueError, match=r"beta of criterion was 0\.5 and is 0\.7"):
        resume_with(tmp_path / "criterion", torch.nn.SmoothL1Loss(beta=0.7))


def test_a_refused_run_keeps_the_seed_of_the_loader(interrupted_run):
    """Only a run that resumes takes the saved seed of a loader that drew its own."""
    x, x_val = zoo.columns(80), zoo.columns(40, seed=7)
    train, val, _ = DataGenerator(x, zoo.labels(x)).generate_dataloader(x_val, zoo.labels(x_val, 7), batch_size=16)
    seed = train.seed
    with pytest.raises(ValueError, match="rows of the training data was 64 and is 80"):
        Recipe(loaders=lambda: (train, val)).start(interrupted_run, "auto")
    assert train.seed == seed


def test_functions_are_compared_by_their_names(tmp_path):
    """A criterion or an optimizer that is a function or a partial is the same in another process, at another address."""

    def start(resume):
        def loss(scores, y):
            return ((scores - y) ** 2).mean()

        make = functools.partial(torch.optim.SGD, momentum=0.5)
        trainer = CTRTrainer(zoo.model(), make, {"lr": 0.1}, n_epoch=1, model_path=tmp_path, progress=False)
        trainer.criterion = loss
        return trainer.fit(*zoo.loaders(), resume=resume)

    first = start("auto")
    assert repr(start("auto").records) == repr(first.records)


def test_a_cycle_made_for_another_number_of_steps_is_refused(tmp_path):
    """Epochs cannot be added to a schedule that ends with the run."""
    recipe = Recipe(scheduler_fn=torch.optim.lr_scheduler.OneCycleLR, scheduler_params={"max_lr": 0.1})
    recipe.start(tmp_path, None)
    with pytest.raises(ValueError, match="total steps of LearningRate was 8 and is 12"):
        recipe.start(tmp_path, "auto", n_epoch=3)


def test_permitted_differences_are_logged(interrupted_run, tmp_path, caplog):
    """A run resumes in a moved folder, with other threads, other kernels and another patience, and the log says so."""
    expected = result(Recipe().start(tmp_path / "uninterrupted", None))
    caplog.set_level("INFO", "torch_rechub")
    assert_same(result(Recipe().start(shutil.copytree(interrupted_run, tmp_path / "moved"), "auto")), expected)
    assert "resuming with another model_path: " in caplog.text
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert Recipe().start(shutil.copytree(interrupted_run, tmp_path / "threads"), "auto").state.step == 8
    finally:
        torch.set_num_threads(threads)
    assert f"resuming with another threads: {threads + 1}, it was {threads}" in caplog.text
    with use_kernels("torch"):
        assert Recipe().start(shutil.copytree(interrupted_run, tmp_path / "kernels"), "auto", earlystop_patience=4).state.step == 8
    assert "resuming with another patience of EarlyStopper: 4, it was 10" in caplog.text


def test_resume_names_a_folder(interrupted_run, tmp_path):
    """resume= accepts the run's folder or that of the saves; a folder without saves and an unknown word are errors."""
    expected = result(Recipe().start(tmp_path / "uninterrupted", None))
    for path in (interrupted_run, interrupted_run / "resume", str(interrupted_run)):
        folder = tmp_path / f"here-{len(list(tmp_path.iterdir()))}"
        assert_same(result(Recipe().start(folder, path)), expected)
        assert zoo.same(torch.load(folder / "model.pth", weights_only=True), expected["weights"])
    with pytest.raises(FileNotFoundError, match="there is no save in this folder"):
        Recipe().start(tmp_path / "new", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="resume must be None, 'auto' or a folder; got True"):
        Recipe().start(tmp_path / "new", True)
    with pytest.raises(ValueError, match="model_path is None"):
        zoo.trainer().fit(*zoo.loaders(), resume="auto")
