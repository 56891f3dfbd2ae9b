"""The trainer writes its model as ONNX, as the existing package's does."""

import sys

import numpy as np
import pytest
import torch
import zoo
from torch import nn

from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, export_face

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402


def columns_by_name(n):
    """The zoo's columns in the shapes of the file's inputs: dense columns are ``(B, embed_dim)``."""
    x, _ = zoo.tensors(n)
    return {name: column[:, None] if name == "age" else column for name, column in x.items()}


def predictions(path, columns):
    return ReferenceEvaluator(onnx.load(path)).run(["output"], {name: column.numpy() for name, column in columns.items()})[0]


@pytest.mark.parametrize("activation", ["relu", "dice"])
def test_the_exported_model_predicts_as_the_trained_one(tmp_path, activation):
    """Batches of other sizes, and sequences of other lengths, give the trained model's predictions; names are those of the features."""
    model = DeepFM([zoo.USER, zoo.ITEM, zoo.TAGS, zoo.AGE, zoo.TASTE], [zoo.USER, zoo.ITEM], {"dims": [4], "activation": activation})
    trainer = zoo.trainer(model, n_epoch=1)
    trainer.fit(*zoo.loaders())
    before, random = zoo.copy_of(model.state_dict()), torch.get_rng_state()
    assert trainer.export_onnx(tmp_path / "folder" / "model.onnx") is True
    assert zoo.same(model.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), random)
    for n, length in ((1, 3), (17, 5)):
        columns = columns_by_name(n)
        columns["tags"] = torch.cat([columns["tags"]] * 2, 1)[:, :length]
        expected = model({name: column[:, 0] if name == "age" else column for name, column in columns.items()})
        found = predictions(tmp_path / "folder" / "model.onnx", columns)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["model.onnx"]


def test_the_model_in_training_stays_as_it_is(tmp_path):
    """An export between two epochs leaves mode, optimizer and the rest of the run alone."""
    weights = []
    for exports in (True, False):
        trainer = zoo.trainer()
        trainer.train_one_epoch(zoo.loaders()[0])
        trainer.model.train()
        if exports:
            trainer.export_onnx(tmp_path / "model.onnx")
        assert trainer.model.training
        trainer.train_one_epoch(zoo.loaders()[0])
        weights.append(trainer.model.state_dict())
    assert zoo.same(*weights)


def test_a_fixed_batch_and_given_columns_are_exported(tmp_path):
    """``dummy_input`` gives the columns, of which others than features are left out; without ``dynamic_batch`` the shapes are theirs."""
    trainer = zoo.trainer()
    columns = {**columns_by_name(3), "not a feature": torch.zeros(3)}
    trainer.export_onnx(tmp_path / "model.onnx", columns, dynamic_batch=False, opset_version=17)
    graph = onnx.load(tmp_path / "model.onnx")
    inputs = {each.name: [size.dim_value for size in each.type.tensor_type.shape.dim] for each in graph.graph.input}
    assert inputs == {"user": [3], "item": [3], "tags": [3, 3], "age": [3, 1], "taste": [3, 2]}
    assert graph.opset_import[0].version == 17


def test_the_other_exporter_takes_any_size_as_well():
    """The shapes that ``dynamo=True`` gets make a program for other batch sizes and lengths."""
    model, columns = zoo.model().eval(), columns_by_name(4)
    shapes = export_face._any_size(list(columns), ["tags"], dynamo=True)
    by_place = export_face._ByPlace(model, list(columns)).eval()
    program = torch.export.export(by_place, tuple(columns.values()), **shapes).module()
    other = {**columns_by_name(7), "tags": columns_by_name(7)["tags"][:, :2]}
    torch.testing.assert_close(program(*other.values()), by_place(*other.values()).as_subclass(torch.Tensor))


class Own(nn.Module):
    """A module without features that returns an extra loss."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x["age"][:, None])[:, 0]), self.linear.weight.sum()


def test_a_model_of_the_users_own_needs_its_columns(tmp_path):
    """Without features the columns have to be given; an extra loss is no output."""
    trainer = CTRTrainer(Own(), loss_mode=False, model_path=None, progress=False)
    with pytest.raises(ValueError, match=r"Own has no attribute with its features.*Give dummy_input"):
        trainer.export_onnx(tmp_path / "model.onnx")
    trainer.export_onnx(tmp_path / "model.onnx", {"age": torch.rand(2)})
    age = torch.rand(5)
    np.testing.assert_allclose(predictions(tmp_path / "model.onnx", {"age": age}), trainer.model({"age": age})[0].detach(), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"dummy_input": {"user": torch.zeros(2, dtype=torch.long)}}, ValueError, "'item', 'tags', 'age', 'taste' is missing"),
        ({"onnx_export_kwargs": {"input_names": ["a"]}}, ValueError, "must not hold 'input_names'"),
        ({"opset": 14}, TypeError, "has no argument 'opset'. Did you mean 'opset_version'"),
    ],
)
def test_what_cannot_be_exported_is_one_error(tmp_path, arguments, kind, message):
    """The error names the argument, and nothing is written."""
    with pytest.raises(kind, match=message):
        zoo.trainer().export_onnx(tmp_path / "model.onnx", **arguments)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("library", ["onnx", "onnxscript"])
def test_a_missing_library_is_named(tmp_path, monkeypatch, library):
    """Without onnx, or onnxscript where it is needed, the error names what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f"needs {library}. Install it with: pip install {library}"):
        zoo.trainer().export_onnx(tmp_path / "model.onnx", onnx_export_kwargs={"dynamo": True})


def test_a_model_beyond_the_format_is_refused(tmp_path, monkeypatch):
    """Weights of more than an ONNX file holds are refused with the way out."""
    monkeypatch.setattr(export_face, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"holds at most 2 GiB.*external_data=True"):
        zoo.trainer().export_onnx(tmp_path / "model.onnx")
