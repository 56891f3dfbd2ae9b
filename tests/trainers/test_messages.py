"""What a user's mistake is answered: one error that names the argument, what came and what to write; and what reaches the screen."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from public_face import public_classes

from torch_rechub.basic.callback import Checkpoint, EarlyStopper
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.basic.layers import MLP
from torch_rechub.basic.metric import AUC
from torch_rechub.data import DataGenerator, Table, TableLoader, check_table
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer

INTERNAL = {"basic.batch", "basic.callback.early_stopping", "basic.callback.schedules", "report"}  #: users do not make these


def constructors():
    for package, value in public_classes():
        ours = value.__module__.startswith("torch_rechub") and not inspect.isabstract(value) and package not in INTERNAL
        if not ours or not getattr(value.__init__, "__module__", "").startswith("torch_rechub"):
            continue
        passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(value.__init__).parameters.values())
        if not (passes_on and package == "basic.tracking"):  # the arguments are those of another library
            yield pytest.param(value, id=f"{package}.{value.__name__}")


@pytest.mark.parametrize("kind", list(constructors()))
def test_an_unknown_argument_names_the_public_class(kind):
    """Every public constructor answers an unknown argument with its own name, not that of a base class or of __init__."""
    with pytest.raises(TypeError, match=f"^{kind.__name__} has no argument 'nonsense_argument'"):
        kind(nonsense_argument=1)


class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x["age"].float()[:, None]))[:, 0], self.linear.weight.sum()


def trainer(**options):
    return CTRTrainer(zoo.model(), **{"model_path": None, "progress": False, "n_epoch": 1} | options)


def loaders_of(**options):
    return DataGenerator({"a": [1, 2]}, [0, 1]).generate_dataloader(**options)


def deepfm(deep=None, params=None):
    return DeepFM([DenseFeature("age")] if deep is None else deep, [zoo.USER], {"dims": [4]} if params is None else params)


MISTAKES = {
    "n_epochs": (lambda: trainer(n_epochs=3), "CTRTrainer has no argument 'n_epochs'. Did you mean 'n_epoch'?"),
    "patient": (lambda: trainer(earlystop_patient=3), "Did you mean 'earlystop_patience'?"),
    "lr": (lambda: trainer(lr=0.1), "CTRTrainer has no argument 'lr'. Give optimizer_params={\"lr\": ...}."),
    "batch_size": (lambda: trainer(batch_size=3), "Give it to generate_dataloader(batch_size=...)."),
    "epochs of fit": (lambda: trainer().fit(zoo.loaders()[0], epochs=3), "CTRTrainer.fit has no argument 'epochs'. Give n_epoch"),
    "nothing to fit": (lambda: trainer().fit(), "CTRTrainer.fit needs the argument 'train_dataloader'"),
    "val_auc": (lambda: trainer(monitor="val_auc"), "'val_auc' is not measured; there are ['auc', 'logloss']. Did you mean 'auc'?"),
    "stopper's val/auc": (lambda: trainer(callbacks=[EarlyStopper(2, monitor="val/auc")]).fit(*zoo.loaders()), "Did you mean 'auc'?"),
    "one width": (
        lambda: deepfm(params={"dims": 8}),
        "MLP: dims must be a list of widths, one for each hidden layer; got 8. Write",
    ),
    "hidden": (lambda: deepfm(params={"hidden": [8]}), "DeepFM: mlp_params has no argument 'hidden'. Give dims, the widths"),
    "list of widths": (
        lambda: deepfm(params=[8, 4]),
        "DeepFM: mlp_params must be a dict of the network's arguments, such as",
    ),
    "a name": (
        lambda: deepfm(["age"]),
        "DeepFM: deep_features must hold features; got 'age' at place 0. Write DenseFeature('age'),",
    ),
    "one feature": (lambda: deepfm(DenseFeature("age")), "DeepFM: deep_features must be a list of features; got one. Put"),
    "one share": (
        lambda: DataGenerator({"a": [1, 2]}, [0, 1]).generate_dataloader(split_ratio=0.8),
        "split_ratio must be (train",
    ),
    "a tuple of loaders": (lambda: trainer().fit(zoo.loaders()), "The training data must be one loader; got a tuple of 2. Unpack it:"),
    "two outputs": (
        lambda: CTRTrainer(Pair(), model_path=None, progress=False).fit(*zoo.loaders()),
        "Pair must return one tensor of predictions; got a tuple of 2. Return the prediction alone, a tensor (B,); or make",
    ),
    "one output": (lambda: trainer(loss_mode=False).fit(*zoo.loaders()), "loss_mode=False: DeepFM must return (prediction, extra loss)"),
    "a class": (lambda: CTRTrainer(DeepFM), "got the class DeepFM. Make a model of it: DeepFM(...)"),
    "an optimizer": (lambda: trainer(optimizer_fn=torch.optim.SGD(zoo.model().parameters())), "got an instance of SGD. The trainer makes"),
    "optimizer_params": (
        lambda: trainer(optimizer_params={"learning_rate": 0.1}),
        "optimizer_params of Adam has no argument 'learning_rate'",
    ),
    "a rate alone": (lambda: trainer(optimizer_params=0.1), "optimizer_params must be a dict of arguments by name"),
    "scheduler_params": (lambda: trainer(scheduler_fn=torch.optim.lr_scheduler.StepLR), "scheduler_params of StepLR needs 'step_size'"),
    "every": (lambda: Checkpoint(every=2), "Checkpoint has no argument 'every'. Did you mean 'every_n_steps' or 'every_minutes'?"),
    "batchsize": (
        lambda: TableLoader(Table.from_columns({"a": [1]}), batchsize=3),
        "TableLoader has no argument 'batchsize'. Did you mean",
    ),
    "metrics": (lambda: trainer(metrics="auc"), "Put it in brackets: metrics=['auc']."),
    "nothing to predict": (lambda: trainer().predict(), "CTRTrainer.predict needs a loader: predict(model, loader), or predict(loader)."),
    "criterion as a class": (lambda: setattr(trainer(), "criterion", torch.nn.BCELoss), "Make one: BCELoss()."),
    "criterion as a word": (lambda: setattr(trainer(), "criterion", "bce"), "trainer.criterion must be a loss"),
    "twice": (
        lambda: trainer().fit(zoo.loaders()[0], train_dataloader=zoo.loaders()[0]),
        "'train_dataloader' twice, by",
    ),
    "penalty alone": (lambda: trainer(regularization_params=1e-5), "regularization_params must be a dict"),
    "penalty": (lambda: trainer(regularization_params={"embedding_l3": 1}), "regularization_params of RegularizationLoss has no argument"),
    "gpus": (lambda: trainer(gpus=2), "gpus must be a list of device numbers"),
    "metrics by name": (lambda: trainer(metrics={"auc": AUC()}), "metrics of several tasks must be lists by task"),
    "rate as text": (lambda: trainer(optimizer_params={"lr": "1e-3"}), "lr must be a number; got the text '1e-3'"),
    "share as text": (lambda: loaders_of(split_ratio="0.8"), "split_ratio must be (train share"),
    "seed as text": (lambda: loaders_of(seed="a"), "seed must be an integer >= 0; got 'a'"),
    "two loaders": (lambda: trainer().predict(*zoo.loaders()), "CTRTrainer.predict needs a loader"),
    "loss_mode": (lambda: trainer(loss_mode="bce"), "loss_mode must be True or False; got 'bce'"),
    "a batch": (lambda: trainer().predict({"a": torch.zeros(2)}), "The prediction data must be a loader"),
    "test_size": (lambda: loaders_of(test_size=0.2), "Give split_ratio=(train share, validation share)."),
    "case": (lambda: trainer(monitor="AUC"), "Did you mean 'auc'?"),
    "callback as a class": (lambda: trainer(callbacks=[EarlyStopper]), "Make one: EarlyStopper(...)."),
    "nothing known": (lambda: AUC(foo=1), "AUC has no argument 'foo'. It takes none."),
    "two missing": (lambda: DeepFM([]), "DeepFM needs the argument 'fm_features' and 'mlp_params'."),
    "dropout": (lambda: MLP(3, dims=[2], dropout="0.1"), "MLP: dropout must be >= 0 and < 1; got '0.1'."),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_with_the_remedy(name):
    """Plausible mistakes of a new user are one error that says what to write."""
    act, message = MISTAKES[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        act()
    assert message in str(caught.value)


def test_errors_within_a_constructor_pass_unchanged():
    """A TypeError of the code that is called is not taken for a wrong argument."""

    class Fails(EarlyStopper):
        def __init__(self):
            super().__init__(2)
            raise TypeError("from within")

    with pytest.raises(TypeError, match=r"^from within$"):
        Fails()


NUMBERS = {
    "clip_norm": np.float32(5),
    "val_every": np.int64(3),
    "n_epoch": np.int64(1),
    "accumulate": np.int32(2),
    "earlystop_patience": np.int64(2),
    "clip_norm of torch": torch.tensor(5.0),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_numpy_are_numbers(name):
    """Each number of the trainer may be one of numpy."""
    assert trainer(**{name.split()[0]: NUMBERS[name]}).fit(*zoo.loaders()).best is not None
    assert trainer(val_every=np.float32(0.5)).fit(*zoo.loaders())["step"] == [2, 4]
    assert deepfm(params={"dims": np.array([4, 2]), "dropout": np.float32(0.1)}).mlp is not None


def test_evaluate_and_predict_use_the_trainers_model_by_themselves():
    """With a loader alone, and with both arguments in either order or by name, the numbers are the same."""
    own, (_, val) = trainer(), zoo.loaders()
    expected = own.evaluate(own.model, val)
    assert own.evaluate(val) == own.evaluate(val, own.model) == own.evaluate(data_loader=val) == expected
    assert own.measure(val) == own.measure(own.model, val)
    for predictions in (own.predict(val), own.predict(val, own.model), own.predict(data_loader=val)):
        assert np.array_equal(predictions, own.predict(own.model, val))


def test_rows_are_numbered_as_in_the_users_table():
    """An error of a shuffled split, of a validation set and of a prediction names the row of the table that was given."""
    x, y = {"a": np.arange(100) % 7}, np.arange(100) % 2
    x["a"][[13, 57]] = 9
    loaders = DataGenerator(x, y).generate_dataloader(split_ratio=(0.5, 0.3), batch_size=10, seed=1)
    wrong = set()
    for loader in loaders:
        if int(loader.table.x["a"].max()) == 9:
            with pytest.raises(ValueError, match=r"got 9 at row ") as caught:
                check_table(loader.table, [SparseFeature("a", 8)])
            wrong.add(int(str(caught.value).split("at row ")[1].split(".")[0]))
    assert wrong
    assert wrong <= {13, 57}


def test_an_unseen_id_of_a_prediction_is_not_told_to_enlarge_the_vocabulary():
    """At predict and evaluate an id beyond the vocabulary is one that training has not seen; at fit the vocabulary is too small."""
    x, y = zoo.columns(), zoo.labels(zoo.columns())
    x["user"] = x["user"].copy()
    x["user"][41] = 500
    loader = TableLoader(Table.from_columns(x, y), batch_size=16)
    for act in (trainer().predict, trainer().evaluate):
        with pytest.raises(ValueError, match=r"got 500 at row 41\. The model was trained without it") as caught:
            act(loader)
        assert "vocab_size=501" not in str(caught.value)
    with pytest.raises(ValueError, match="Use vocab_size=501"):
        trainer().fit(loader)


def test_the_default_batch_size_is_warned_of_where_it_matters(caplog, monkeypatch):
    """A large table with the default batch size is one warning a process; a small one, or a chosen size, is none."""
    monkeypatch.setattr("torch_rechub.data.generator._warned", set())
    large = DataGenerator({"a": np.zeros(10_000, int)}, np.arange(10_000) % 2)
    large.generate_dataloader(batch_size=16)
    DataGenerator({"a": [1, 2]}, [0, 1]).generate_dataloader()
    assert "batch_size" not in caplog.text
    for _ in range(2):
        train, _, _ = large.generate_dataloader(seed=np.int64(3))
    assert train.batch_size == 16
    assert caplog.text.count("batch_size=16, the default") == 1


#: One process, which starts one for each set-up: the imports and the first run take most of the time.
SCRIPT = """
import logging, os, sys
sys.path.insert(0, sys.argv[1])
import zoo
zoo.trainer(n_epoch=1).fit(*zoo.loaders())
for set_up in sys.argv[2:]:
    if os.fork() == 0:
        exec(set_up)
        zoo.trainer(n_epoch=1, earlystop_patience=2).fit(zoo.loaders()[0])
        sys.stderr.flush()
        os._exit(0)
    assert os.wait()[1] == 0
    print("-" * 9, file=sys.stderr, flush=True)
"""


def test_warnings_reach_the_screen_once():
    """Without any configuration of logging, and with one, a warning stands on stderr exactly once; it can be turned off."""
    set_ups = ["", "logging.basicConfig(format='configured %(message)s')", "logging.disable()"]
    command = [sys.executable, "-c", SCRIPT, str(Path(zoo.__file__).parent), *set_ups]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    screens = done.stderr.split("-" * 9)[:3]
    warning = "there was no validation data: the model keeps its last weights"
    assert [screen.count(warning) for screen in screens] == [1, 1, 0]
    assert ["configured there was" in screen for screen in screens] == [False, True, False]
