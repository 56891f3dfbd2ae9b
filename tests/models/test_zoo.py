"""Laws of every public model of every task, by the recipes of tests/zoo.py."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
import pkgutil

import pytest
import torch
import zoo

import torch_rechub.models as models

#: The subpackages of torch_rechub.models, one for each task.
TASKS = [importlib.import_module(info.name) for info in pkgutil.iter_modules(models.__path__, "torch_rechub.models.") if info.ispkg]
#: Public model of any task -> the task.
TASK_OF = {name: task.__name__.rpartition(".")[2] for task in TASKS for name in task.__all__}
NAMES = sorted(TASK_OF)
RANKING = sorted(name for name, task in TASK_OF.items() if task == "ranking")


def test_every_public_model_has_a_recipe():
    """Every public model of every task has a recipe in tests/zoo.py, and every recipe has a model."""
    assert RANKING
    assert len(TASK_OF) == sum(len(task.__all__) for task in TASKS)
    assert sorted(zoo.RECIPES) == sorted(TASK_OF)


@pytest.mark.parametrize("name", RANKING)
def test_a_model_gives_probabilities_and_losses(name):
    """Features give probabilities (B,), and a batch their mean cross-entropy, packed or as a dict."""
    model = zoo.model(name).eval()
    x, y = zoo.tensors(20)
    packed = zoo.loaders(n=20)[0].table.x
    p = model(x)
    assert p.shape == (20,)
    assert ((p > 0) & (p < 1)).all()
    torch.testing.assert_close(model(packed), p)
    torch.testing.assert_close(torch.sigmoid(model.logits(x)), p)
    torch.testing.assert_close(model((x, y)), torch.nn.functional.binary_cross_entropy(p, y), rtol=1e-5, atol=1e-6)
    assert torch.equal(model([x]), p)


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_independent_in_evaluation(name):
    """A row's probability does not depend on the other rows of its batch."""
    model = zoo.model(name).eval()
    x, _ = zoo.tensors(20)
    one_by_one = torch.cat([model({key: column[i : i + 1] for key, column in x.items()}) for i in range(20)])
    torch.testing.assert_close(one_by_one, model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name):
    """After one backward pass each trainable parameter has a finite gradient that is not all zero."""
    model = zoo.model(name, dropout=0.0)
    x, y = zoo.tensors(64)
    model((x, y)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any() or key.endswith("0.bias"), key  # the gradient of a bias before batch norm is zero


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_a_model_is_equal_and_independent(name):
    """deepcopy, pickle, .to() and state_dict give equal models, and training one of them does not change the others."""
    model = zoo.model(name)
    x, y = zoo.tensors(32)
    model((x, y)).backward()
    model.zero_grad()
    fresh = zoo.model(name, seed=1)
    fresh.load_state_dict(model.state_dict())
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = zoo.model(name, seed=2)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh, loaded, copy.deepcopy(model).double().float().to("cpu")]
    expected = model.eval()(x)
    for copied in copies:
        assert torch.equal(copied.eval()(x), expected)
        trainer = zoo.trainer(copied, n_epoch=1, optimizer_params={"lr": 0.5})
        trainer.fit([(x, y)])
        assert not torch.equal(copied(x), expected)
        assert torch.equal(model(x), expected)


@pytest.mark.parametrize("name", RANKING)
def test_a_model_learns(name):
    """The training AUC is well above chance after a few epochs."""
    train, _ = zoo.loaders(n=300, batch_size=50)
    trainer = zoo.trainer(zoo.model(name), n_epoch=15)
    assert trainer.fit(train, train).best["auc"] > 0.85


@pytest.mark.parametrize("name", NAMES)
def test_two_models_never_share_weights(name):
    """Two models made from the same features share no weight."""
    one, other = zoo.model(name, seed=0), zoo.model(name, seed=1)
    before = zoo.copy_of(other.state_dict())
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert zoo.same(other.state_dict(), before)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_feature_names_the_closest(name):
    """A missing column is an error with the closest name that exists, and columns of no feature are allowed."""
    model = zoo.model(name)
    x, _ = zoo.tensors(4)
    model({**x, "session": torch.full((4,), -7)})
    with pytest.raises(ValueError, match=r"SparseFeature 'user': x must have this column.*Did you mean 'usr'"):
        model({("usr" if key == "user" else key): column for key, column in x.items()})
