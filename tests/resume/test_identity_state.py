"""What changes during a run is state, not a setting; data that differ are another run."""

from __future__ import annotations

import pytest
import torch
import zoo
from resuming import Recipe, SaveEvery
from test_identity import Own, started
from torch.utils.data import DataLoader, Dataset

from torch_rechub.basic.callback import Callback
from torch_rechub.trainers import CTRTrainer


class Twice(Own):
    """A model whose forward calls that of its base, and counts in a public attribute."""

    def __init__(self):
        super().__init__()
        self.n_call = 0

    def forward(self, x):
        self.n_call += 1
        return super().forward(x)


def test_state_that_code_changes_itself_is_no_setting(tmp_path):
    """A list that a function fills, a counter of a model and one of a callback may differ; the same trainer goes on."""
    seen = []

    class Counts(Callback):
        def __init__(self, kept=()):
            self.kept = list(kept)

        def on_batch_end(self, trainer):
            self.kept.append(trainer.state.step)
            if trainer.state.step == 5 and len(self.kept) == 5:
                trainer.request_pause("a pause")

    trainer = CTRTrainer(Twice(), n_epoch=2, model_path=tmp_path, progress=False, callbacks=[Counts([]), SaveEvery()])

    def score(y_true, y_pred):
        seen.append(len(y_true))
        return float(y_pred.mean())

    trainer.evaluate_fn = score
    trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.state.paused
    trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.state.step == 8
    assert len(seen) == 2


def test_a_changed_forward_is_the_only_difference(tmp_path):
    """Where forward differs, neither the constructor nor anything that super() refers to is named as well."""

    class Other(Own):
        def __init__(self):
            super().__init__()
            self.n_call = 0

        def forward(self, x):
            self.n_call += 1
            return super().forward(x) * 0.5

    Other.__name__ = "Twice"
    started(tmp_path, {"make": Twice})
    with pytest.raises(ValueError, match=r"another one: the code of forward of Twice was changed\. Make"):
        Recipe(make=Other).start(tmp_path, "auto")
    trainer = zoo.trainer(Other(), model_path=tmp_path, n_epoch=2, optimizer_params={"lr": 0.05}, callbacks=[SaveEvery()])
    trainer.fit(*zoo.loaders(), resume="auto", accept=["forward of Twice"])
    assert trainer.state.step == 8


def test_a_rate_set_by_hand_is_kept_by_the_resumed_run(tmp_path):
    """A rate that was set on the optimizer before the run holds in the same trainer after a pause."""

    class PausesOnce(Callback):
        part_of_run = False
        is_done = False

        def on_batch_end(self, trainer):
            if trainer.state.step == 3 and not self.is_done:
                self.is_done = True
                trainer.request_pause("a pause")

    trainer = zoo.trainer(n_epoch=2, model_path=tmp_path, callbacks=[PausesOnce(), SaveEvery()])
    trainer.optimizer.param_groups[0]["lr"] = 0.3
    trainer.fit(*zoo.loaders(), resume="auto")
    trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.state.step == 8
    assert set(trainer.history["lr"]) == {0.3}


def batches(factor=1.0):
    x, y = zoo.tensors()
    return [
        ({**{n: v[i : i + 16] for n, v in x.items()}, "age": x["age"][i : i + 16] * factor}, y[i : i + 16]) for i in range(0, len(y), 16)
    ]


class Rows(Dataset):
    """Rows of a user's own data set, with a setting and a counter."""

    def __init__(self, factor=1.0):
        self.factor, self.n_read = factor, 0

    def __len__(self):
        return 64

    def __getitem__(self, i):
        self.n_read += 1
        return {"age": torch.tensor(i / 64 * self.factor)}, torch.tensor(float(i % 2))


def collate_as_they_are(rows):
    return torch.utils.data.default_collate(rows)


def collate_reversed(rows):
    return torch.utils.data.default_collate(rows[::-1])


def loader_of(dataset, collate_fn=None):
    return DataLoader(dataset, batch_size=16, collate_fn=collate_fn)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (batches, lambda: batches(1.5), "content of the training data"),
        (lambda: loader_of(Rows()), lambda: loader_of(Rows(2.0)), "factor of dataset of the training data was 1.0 and is 2.0"),
        (
            lambda: loader_of(Rows(), collate_as_they_are),
            lambda: loader_of(Rows(), collate_reversed),
            "the code of collate_fn of the training data was changed",
        ),
    ],
    ids=["list", "data set", "collate"],
)
def test_other_foreign_data_are_another_run(before, after, message, tmp_path):
    """The content of a list of batches, the settings of a data set and the collate function are compared."""
    options = {"make": Own}
    started(tmp_path, {**options, "loaders": lambda: (before(),)})
    with pytest.raises(ValueError, match=message):
        Recipe(**options, loaders=lambda: (after(),)).start(tmp_path, "auto")
    assert Recipe(**options, loaders=lambda: (before(),)).start(tmp_path, "auto").state.step == 8
