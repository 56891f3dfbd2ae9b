"""Models with a state of their own, lazy and compiled models are saved and resumed, or refused in one sentence."""

from __future__ import annotations

import pytest
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe, assert_resumes, assert_same, result
from torch import nn

from torch_rechub.basic.callback import Callback
from torch_rechub.trainers import CTRTrainer


def cut(recipe, folder, step=3):
    """Interrupt a run within the step after ``step``."""
    with pytest.raises(Interrupted):
        recipe.start(folder, None, InterruptAt(step))


class Remembers(nn.Module):
    """A model with a state that is neither parameter nor buffer."""

    def __init__(self, kind=list):
        super().__init__()
        self.inner, self.kind = zoo.model(dims=[4]), kind
        self.features = self.inner.features
        self.memory, self.n = torch.zeros(()), 0

    def forward(self, x):
        if self.training:
            self.n += 1
            self.memory = self.memory * 0.5 + x["age"].float().mean() * self.n
        return self.inner(x) * torch.sigmoid(self.memory)

    def get_extra_state(self):
        return {"n": self.n, "memory": self.memory, "as": self.kind([1])}

    def set_extra_state(self, state):
        self.n, self.memory = state["n"], state["memory"]


def test_extra_state_is_resumed_bit_for_bit(tmp_path):
    """get_extra_state of a module is saved, and its state resumes with the same bits."""
    recipe = Recipe(Remembers)
    expected = recipe.start(tmp_path / "uninterrupted", None)
    for step in (1, 4, 6):
        found = recipe.interrupted_at(tmp_path / str(step), step)
        assert found.history["loss"] == expected.history["loss"]
        assert found.history["auc"] == expected.history["auc"]
        assert (found.model.n, float(found.model.memory)) == (expected.model.n, float(expected.model.memory))


def test_extra_state_that_cannot_be_saved_is_one_error_before_the_first_step(tmp_path):
    """A set in get_extra_state is refused by the module's name, with no step made."""
    trainer = CTRTrainer(Remembers(set), model_path=tmp_path, progress=False)
    with pytest.raises(TypeError, match=r"get_extra_state\(\) of Remembers \(model\) must return tensors, numbers.*it is a set"):
        trainer.fit(*zoo.loaders(), resume="auto")
    assert trainer.state.step == 0


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.linear = [zoo.AGE], nn.LazyLinear(1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x["age"].float()[:, None])[:, 0])


def test_a_lazy_model_is_refused_in_one_sentence_or_resumes(tmp_path):
    """Without shapes a save is refused by the parameter's name; called once before, the model is saved and resumed."""
    trainer = CTRTrainer(Lazy(), model_path=tmp_path, progress=False)
    assert "Lazy" in trainer.describe()
    with pytest.raises(ValueError, match=r"model\.linear\.weight, a lazy parameter\. Call the model once"):
        trainer.fit(*zoo.loaders(), resume="auto")

    def make():
        torch.manual_seed(0)
        model = Lazy()
        model({"age": torch.zeros(2)})
        return model

    recipe = Recipe(make)
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    assert_same(result(recipe.interrupted_at(tmp_path / "run", 3)), expected)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("part", ["model", "mlp"])
def test_compiled_and_plain_models_resume_each_other(part, tmp_path):
    """A run of a plain model goes on with one that the user compiled, whole or in part, and the other way round; files have plain names."""

    def compiled():
        model = zoo.plain_model()
        if part == "model":
            return torch.compile(model, backend="eager")
        model.mlp = torch.compile(model.mlp, backend="eager")
        return model

    expected = Recipe(zoo.plain_model).start(tmp_path / "plain", None)
    for i, (first, second) in enumerate([(zoo.plain_model, compiled), (compiled, zoo.plain_model)]):
        cut(Recipe(first), tmp_path / str(i))
        trainer = Recipe(second).start(tmp_path / str(i), "auto")
        assert trainer.history["loss"] == pytest.approx(expected.history["loss"], rel=1e-5)
        weights = torch.load(tmp_path / str(i) / "model.pth", weights_only=True)
        assert weights.keys() == expected.model.state_dict().keys()


def frozen():
    model = zoo.model()
    model.embedding.embed_dict["item"].requires_grad_(False)
    return model


def replaced():
    model = zoo.model()
    size = model.embedding.embed_dict["item"].weight.shape
    model.embedding.embed_dict["item"] = nn.Embedding(*size)
    return model


class Changes(Callback):
    """Freezes or unfreezes a part of the model when the second epoch begins; a resumed epoch has begun before."""

    def __init__(self, part, trained):
        self.part, self.trained = part, trained

    def on_epoch_begin(self, trainer):
        if trainer.state.epoch == 1:
            trainer.model.get_submodule(self.part).requires_grad_(self.trained)


@pytest.mark.parametrize(
    ("make", "callbacks"),
    [
        (frozen, list),
        (replaced, list),
        (zoo.model, lambda: [Changes("embedding.embed_dict.item", False)]),
        (frozen, lambda: [Changes("embedding.embed_dict.item", True)]),
        (zoo.model, lambda: [Changes("mlp", False)]),
    ],
    ids=["frozen", "replaced", "frozen later", "unfrozen later", "network frozen later"],
)
def test_a_model_with_frozen_parts_resumes_bit_for_bit(make, callbacks, tmp_path):
    """A run whose model has a frozen or replaced feature, or whose callback freezes or unfreezes a part, resumes bit for bit."""
    assert_resumes(Recipe(make, callbacks=callbacks), tmp_path, lambda n_step: [2, n_step // 2 - 1, n_step // 2, n_step - 2])


def test_weights_of_a_save_that_the_model_lacks_are_refused(tmp_path):
    """Where a callback gave a feature a weight of its own in the middle of the run, the save names it; the model is as it was before."""

    class Assigns(Callback):
        def on_epoch_begin(self, trainer):
            embedding = trainer.model.embedding.embed_dict["item"]
            embedding.weight = nn.Parameter(embedding.weight.detach().clone())

    recipe = Recipe(zoo.model, callbacks=lambda: [Assigns()])
    cut(recipe, tmp_path)
    model = zoo.model()
    before = zoo.copy_of(model.state_dict())
    with pytest.raises(ValueError, match=r"embedding\.embed_dict\.item\.weight', which this model does not have"):
        Recipe(lambda: model, callbacks=lambda: [Assigns()]).start(tmp_path, "auto")
    assert zoo.same(model.state_dict(), before)
