"""The arguments of a trainer: each invalid one is refused by its name before training."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback, Checkpoint, EarlyStopper, GracefulStop, LearningRate, Progress
from torch_rechub.trainers import CTRTrainer


def test_the_first_thirteen_arguments_keep_their_order():
    """The arguments of the existing package keep their positions, and all others are keyword-only."""
    parameters = list(inspect.signature(CTRTrainer.__init__).parameters.values())[1:]
    by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_position == (
        "model optimizer_fn optimizer_params regularization_params scheduler_fn scheduler_params n_epoch earlystop_patience "
        "device gpus loss_mode model_path model_logger"
    ).split(" ")
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[13:])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here, so asking for one is no mistake")
@pytest.mark.parametrize("device", ["cuda:0", "cuda", torch.device("cuda:1")])
def test_a_missing_gpu_is_refused_at_construction(device):
    """Without CUDA the message names device="cpu" and device="auto"."""
    with pytest.raises(ValueError, match=r"sees none") as raised:
        zoo.trainer(device=device)
    assert 'device="cpu"' in str(raised.value)
    assert 'device="auto"' in str(raised.value)


def test_a_gpu_with_too_large_a_number_is_refused(monkeypatch):
    """With one GPU, cuda:3 is refused, and the message says that GPUs are counted from 0."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="asks for GPU 3, and there are 1, counted from 0"):
        zoo.trainer(device="cuda:3")


def test_device_auto_always_works():
    """device="auto" chooses a device that is available."""
    trainer = zoo.trainer(device="auto", n_epoch=1)
    assert trainer.device.type == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    assert len(trainer.fit(*zoo.loaders())) == 1


@pytest.mark.parametrize(
    ("argument", "bad", "error", "said"),
    [
        ("device", "gpu", ValueError, "device must be a name such as 'cpu'"),
        ("gpus", [0, 1], ValueError, r"torchrun --nproc-per-node=2"),
        ("n_epoch", 0, ValueError, "n_epoch must be an integer >= 1; got 0"),
        ("n_epoch", 1.5, ValueError, "n_epoch must be an integer >= 1"),
        ("n_epoch", True, ValueError, "n_epoch must be an integer >= 1"),
        ("accumulate", 0, ValueError, "accumulate must be an integer >= 1"),
        ("accumulate", "2", ValueError, "accumulate must be an integer >= 1"),
        ("clip_norm", 0, ValueError, "clip_norm must be a number > 0"),
        ("clip_norm", float("nan"), ValueError, "clip_norm must be a number > 0"),
        ("clip_norm", "1", ValueError, "clip_norm must be a number > 0"),
        ("earlystop_patience", 0, ValueError, "patience must be an integer >= 1; got 0"),
        ("monitor", "acu", ValueError, r"monitor='acu' is not measured; there are \['auc', 'logloss'\]"),
        ("metrics", ["acu"], ValueError, "No metric is called 'acu'. Did you mean 'auc'"),
        ("metrics", [], ValueError, "at least one metric"),
        ("metrics", "auc", ValueError, "must be a list"),
        ("metrics", ["auc", "auc"], ValueError, "different names"),
        ("metrics", [lambda y, p: 0], TypeError, "FunctionMetric"),
        ("metrics", ["calibration"], ValueError, "has no direction"),
        ("callbacks", [EarlyStopper], TypeError, "must be instances"),
        ("callbacks", [print], TypeError, "must be instances"),
        ("regularization_params", {"embedding_l2": -1.0}, ValueError, "embedding_l2"),
        ("scheduler_fn", "StepLR", TypeError, "scheduler_fn must be a class or function"),
        ("scheduler_fn", lambda optimizer: None, TypeError, "must return a scheduler"),
        ("model_logger", object(), TypeError, r"has no method log_hyperparams\(\)"),
        ("optimizer_params", {"lr": -1.0}, ValueError, "learning rate"),
    ],
)
def test_an_invalid_argument_is_refused(argument, bad, error, said):
    """The error at construction names the argument, its value and the remedy."""
    with pytest.raises(error, match=said):
        zoo.trainer(**{argument: bad})


def test_the_model_must_be_a_module():
    """A model that is a class or a function is refused."""
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module; got function"):
        CTRTrainer(zoo.model)


def test_scheduler_interval_is_one_of_three():
    """An unknown interval is refused with the three that are allowed."""
    with pytest.raises(ValueError, match=r"\['step', 'validation', 'epoch'\]; got 'batch'"):
        zoo.trainer(scheduler_fn=torch.optim.lr_scheduler.StepLR, scheduler_params={"step_size": 1}, scheduler_interval="batch")


def test_the_defaults_are_the_documented_ones():
    """optimizer_params=None is Adam at 1e-3 without weight decay; patience is 10."""
    trainer = CTRTrainer(zoo.model())
    assert trainer.optimizer.param_groups[0]["lr"] == 1e-3
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0
    assert isinstance(trainer.optimizer, torch.optim.Optimizer)
    assert (trainer.early_stopper.patience, trainer.n_epoch, trainer.model_path) == (10, 10, f"{Path.cwd()}/")


def test_built_in_callbacks_follow_those_of_the_user():
    """The callbacks of the user come first, in their order, then stopper, schedule, checkpoint, progress and GracefulStop."""

    class Mine(Callback):
        pass

    mine, other = Mine(), Mine()
    options = {"scheduler_fn": torch.optim.lr_scheduler.StepLR, "scheduler_params": {"step_size": 1}, "progress": True}
    trainer = zoo.trainer(callbacks=[mine, other], **options)
    assert list(trainer.callbacks)[:2] == [mine, other]
    assert [type(callback) for callback in list(trainer.callbacks)[2:]] == [EarlyStopper, LearningRate, Checkpoint, Progress, GracefulStop]


def test_an_instance_of_a_built_in_class_replaces_the_built_in_one():
    """An EarlyStopper of the user, also of a subclass, stands in the position of the built-in one."""

    class Patient(EarlyStopper):
        pass

    class Mine(Callback):
        pass

    stopper, mine = Patient(2, monitor="logloss"), Mine()
    trainer = zoo.trainer(callbacks=[stopper, mine], earlystop_patience=7)
    assert [type(callback) for callback in trainer.callbacks] == [Mine, Patient, Checkpoint, GracefulStop]
    assert trainer.early_stopper is stopper
    trainer.fit(*zoo.loaders())
    assert stopper.mode == "min"
    assert stopper.best_auc == min(trainer.history["logloss"])


def test_patience_none_never_stops():
    """earlystop_patience=None runs all epochs and restores the best weights."""
    trainer = zoo.trainer(earlystop_patience=None, n_epoch=14)
    trainer.evaluate_fn = zoo.Scripted([0.5] + [0.4] * 13)
    assert len(trainer.fit(*zoo.loaders())) == 14
    assert trainer.early_stopper.best_auc == 0.5


@pytest.mark.parametrize("kind", ["file", "below a file", "not writable"])
def test_a_model_path_that_cannot_be_written_is_refused_before_training(tmp_path, kind, monkeypatch):
    """The error names the folder, and no weight has changed."""
    (tmp_path / "file").write_text("mine")
    path = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "deep", "not writable": tmp_path / "locked"}[kind]
    if kind == "not writable":
        from pathlib import Path

        def refuse(self, *args, **kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "touch", refuse)
    trainer = zoo.trainer(model_path=path)
    before = zoo.copy_of(trainer.model.state_dict())
    with pytest.raises(OSError, match=f"cannot write into the folder.*model_path.*{path.name}"):
        trainer.fit(*zoo.loaders())
    assert zoo.same(trainer.model.state_dict(), before)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_folder_is_made_before_training(tmp_path):
    """model_path and its parent folders exist when the first batch begins."""
    path, seen = tmp_path / "a" / "b", []

    class FolderExists(Callback):
        def on_batch_begin(self, trainer):
            seen.append(path.is_dir())

    zoo.trainer(model_path=path, callbacks=[FolderExists()], n_epoch=1).fit(*zoo.loaders())
    assert all(seen)
    assert [file.name for file in path.iterdir()] == ["model.pth"]
