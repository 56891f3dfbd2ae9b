"""Mistakes of a first script: each is one sentence with a remedy, before the first step."""

import numpy as np
import pytest
import torch
import zoo
from torch import nn
from torch.optim import lr_scheduler

from torch_rechub.basic.callback import Callback, Checkpoint, EarlyStopper, LearningRate, TimeLimit
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.trainers import evaluate, find_learning_rate, train_one_epoch


class NoTrainer(Callback):
    def on_epoch_end(self):
        """Called without the trainer."""


class Keras(Callback):
    def on_validation_end(self, trainer, logs):
        """Called with more than the trainer."""


class TwoInputs(nn.Linear):
    def forward(self, user, item):
        return user


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x["age"][:, None]).sigmoid().detach()


def fit(*loaders, net=None, criterion=None, **options):
    trainer = zoo.trainer(net)
    if criterion is not None:
        trainer.criterion = criterion
    trainer.fit(*(loaders or zoo.loaders()), **options)


def scheduler():
    return lr_scheduler.StepLR(torch.optim.SGD([nn.Parameter(torch.ones(1))]), 1)


#: What is done -> what the error says.
MISTAKES = {
    "three loaders": (lambda: fit(*zoo.loaders(), zoo.loaders()[1]), "fit takes two loaders; measure a third one by trainer.evaluate"),
    "resume=True": (lambda: fit(resume=True), "got True. resume='auto' resumes where there is a save"),
    "resume='Auto'": (lambda: fit(resume="Auto"), "'Auto' names a folder, and there is no save in it. Did you mean 'auto'?"),
    "a path": (lambda: fit("train.csv"), "got the text 'train.csv'. Read the file first: DataGenerator"),
    "cross-entropy": (lambda: fit(criterion=nn.CrossEntropyLoss()), "CrossEntropyLoss takes one score a class.*Use nn.BCELoss"),
    "two inputs": (lambda: fit(net=TwoInputs(1, 1)), r"TwoInputs.forward must take the features alone, forward\(self, x\)"),
    "no gradient": (lambda: fit(net=Detached(1, 1)), "The loss depends on no weight that is trained.*Leave detach"),
    "a list in a batch": (
        lambda: fit([({**zoo.tensors(4)[0], "user": ["a", "b"]}, torch.ones(4))]),
        "SparseFeature 'user': the column must be a tensor; got a list",
    ),
    "a hook without trainer": (lambda: zoo.trainer(callbacks=[NoTrainer()]), r"NoTrainer.on_epoch_end must take the trainer as its only"),
    "a hook with logs": (lambda: zoo.trainer(callbacks=[Keras()]), r"Keras.on_validation_end must take .*def on_validation_end"),
    "a list of monitors": (lambda: EarlyStopper(2, monitor=["auc"]), r"EarlyStopper: monitor must be a name or None; got \['auc'\]"),
    "groups by number": (lambda: EarlyStopper(2, min_delta="significant", groups=3), "EarlyStopper: groups must be a name"),
    "a checkpoint's monitor": (lambda: Checkpoint(monitor=["auc"]), "Checkpoint: monitor must be a name or None"),
    "a schedule's monitor": (lambda: LearningRate(lr_scheduler.ReduceLROnPlateau, monitor=0), "LearningRate: monitor must be a name"),
    "a scheduler": (lambda: zoo.trainer(scheduler_fn=scheduler()), "got an instance of StepLR. Give its class, scheduler_fn=StepLR"),
    "words": (lambda: TimeLimit("two hours"), "'2h30m' or '90s'; got 'two hours'"),
    "a penalty of text": (lambda: RegularizationLoss(embedding_l2="1e-5"), "embedding_l2 must be a finite number >= 0; got '1e-5'"),
    "progress='no'": (lambda: zoo.trainer(progress="no"), "progress must be True or False; got 'no'"),
    "evaluate swapped": (lambda: evaluate(zoo.loaders()[1], zoo.model()), "evaluate: the first argument must be the model"),
    "train swapped": (
        lambda: train_one_epoch(zoo.loaders()[0], zoo.model(), None),
        "train_one_epoch: the first argument must be the model",
    ),
    "finder swapped": (lambda: find_learning_rate(zoo.loaders()[0], zoo.trainer()), "the first argument must be a trainer"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_first_mistake_is_told_in_one_sentence(name):
    """The error is of the caller's kind, says what was given, and what to do; no random number was drawn."""
    do, said = MISTAKES[name]
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=said):
        do()


def test_weights_given_as_a_save_are_told_apart(tmp_path):
    """resume=model.pth names the folder of the saves, and how weights are loaded."""
    zoo.trainer(model_path=tmp_path, n_epoch=1).fit(*zoo.loaders())
    with pytest.raises(FileNotFoundError, match=r"is a file: saves to resume from lie in a folder.*load_state_dict"):
        zoo.trainer(model_path=tmp_path).fit(*zoo.loaders(), resume=tmp_path / "model.pth")


def test_a_report_in_the_place_of_a_folder_is_refused(tmp_path):
    """A report is a file."""
    trainer = zoo.trainer(n_epoch=1)
    trainer.fit(*zoo.loaders())
    with pytest.raises(OSError, match="a file must be written here, and there is a folder"):
        trainer.report(tmp_path)


def test_a_model_with_options_trains():
    """What takes the features and more with a default is no mistake."""

    class Optional(nn.Linear):
        def forward(self, x, verbose=False):
            return super().forward(x["age"][:, None]).sigmoid()

    x, y = zoo.columns(), zoo.labels(zoo.columns())
    batch = ({"age": torch.from_numpy(x["age"])}, torch.from_numpy(np.asarray(y)))
    trainer = zoo.trainer(Optional(1, 1), n_epoch=1)
    trainer.fit([batch])
    assert trainer.state.step == 1


def test_a_file_as_model_path_is_refused(tmp_path):
    """model_path is a folder; the name of a file of weights is refused with the folder to give, and a folder of such a name is taken."""
    with pytest.raises(ValueError, match=r"model_path must be a folder.*Give '.*saved'"):
        zoo.trainer(model_path=tmp_path / "saved" / "model.pth")
    (tmp_path / "odd.pt").mkdir()
    zoo.trainer(model_path=tmp_path / "odd.pt")
