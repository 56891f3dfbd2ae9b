"""What plain torch does with a module works with a model: transforms, exports, traces, other precisions."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, jvp, vmap

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DeepFM
from torch_rechub.optim import FTRL, SGD, Adagrad, Adam, AdamW, RowWiseAdagrad

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which torch itself uses

NAMES = ["user", "city", "history", "age"]


def make_model(dropout=0.0):
    torch.manual_seed(0)
    embedded = [SparseFeature("user", 10, 4), SparseFeature("city", 20, 4, padding_idx=0), SequenceFeature("history", 30, 4, padding_idx=0)]
    return DeepFM([*embedded, DenseFeature("age")], embedded, {"dims": [8], "dropout": dropout})


def make_x(n_row=6):
    generator = torch.Generator().manual_seed(n_row)
    ids = [torch.randint(0, size, shape, generator=generator) for size, shape in ((10, [n_row]), (20, [n_row]), (30, [n_row, 5]))]
    return dict(zip(NAMES, [*ids, torch.rand(n_row, generator=generator)], strict=True))


def loss_of(model, parameters, x, y):
    return nn.functional.binary_cross_entropy(functional_call(model, parameters, (x,)), y)


@pytest.mark.parametrize("kind", [torch.optim.Adam, Adam, AdamW, SGD, Adagrad, RowWiseAdagrad, FTRL], ids=lambda kind: kind.__module__)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.double])
def test_a_model_in_another_precision_trains(dtype, kind):
    """A model in bfloat16, half or double trains by every optimizer, its tables too, and its weights keep their type."""
    model = make_model(dropout=0.1).to(dtype)
    optimizer = kind(model.parameters(), lr=0.01)
    before = model.embedding.tables["dim4"].weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        model((make_x(16), torch.arange(16) % 2)).backward()
        optimizer.step()
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert not torch.equal(model.embedding.tables["dim4"].weight, before)
    assert model.eval()(make_x()).dtype == dtype


def test_dense_columns_keep_their_digits_in_a_double_model():
    """A float64 column is not rounded to float32 on its way into a model in double precision."""
    model = make_model().double().eval()
    layer = model.embedding
    x = {**make_x(1), "age": torch.tensor([1 + 1e-12], dtype=torch.float64)}
    assert layer(x, model.deep_features, squeeze_dim=True)[0, -1].item() == 1 + 1e-12


def test_functional_gradients_of_a_model_are_those_of_backward():
    """``grad`` of ``functional_call`` over all parameters gives the gradients of ``backward``, with zeros in padding rows."""
    model, x, y = make_model().eval(), make_x(), torch.tensor([0.0, 1, 1, 0, 1, 0])
    parameters = dict(model.named_parameters())
    gradients = grad(lambda p: loss_of(model, p, x, y))(parameters)
    model((x, y)).backward()
    torch.testing.assert_close(gradients, {name: parameter.grad for name, parameter in parameters.items()})


def test_per_sample_gradients_of_a_model_sum_to_the_gradient_of_the_batch():
    """``vmap`` over rows of ``grad`` gives one gradient a row, whose mean is the gradient of the mean loss."""
    model, x, y = make_model().eval(), make_x(), torch.tensor([0.0, 1, 1, 0, 1, 0])
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def of_row(p, row, label):
        return loss_of(model, p, {name: value[None] for name, value in row.items()}, label[None])

    by_row = vmap(grad(of_row), (None, 0, 0))(parameters, x, y)
    expected = grad(lambda p: loss_of(model, p, x, y))(parameters)
    torch.testing.assert_close({name: value.mean(0) for name, value in by_row.items()}, expected)
    with pytest.raises(ValueError, match="vocab_size=20"):
        vmap(grad(of_row), (None, 0, 0))(parameters, {**x, "city": x["city"] + 20}, y)


def test_jacobians_of_a_model_agree_forwards_and_backwards():
    """``jvp`` along a direction is ``jacrev`` times that direction."""
    model, x = make_model().eval(), make_x()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    predict = lambda p: functional_call(model, p, (x,))  # noqa: E731
    _, forwards = jvp(predict, (parameters,), (parameters,))
    jacobian = jacrev(predict)(parameters)
    torch.testing.assert_close(sum((part.flatten(1) @ parameters[name].flatten() for name, part in jacobian.items())), forwards)


def test_functional_call_with_lagging_rows_is_refused():
    """Weights of the caller whose rows lag cannot be brought up to date: an error says to detach the optimizer first."""
    model, x, y = make_model().eval(), make_x(), torch.ones(6)
    optimizer = Adam(model.parameters(), lr=0.1)
    for rows in (x, make_x(5)):
        model((rows, y[: len(rows["user"])])).backward()
        optimizer.step()
    with pytest.raises(RuntimeError, match=r"optimizer\.detach\(\)"):
        grad(lambda p: loss_of(model, p, x, y))(dict(model.named_parameters()))
    optimizer.detach()
    grad(lambda p: loss_of(model, p, x, y))(dict(model.named_parameters()))


class ByPlace(nn.Module):
    """The model with one tensor for each column."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *columns):
        return self.model(dict(zip(NAMES, columns, strict=True)))


def test_a_traced_model_predicts_as_the_model():
    """``torch.jit.trace`` of a model, fed a dict or columns, gives its predictions for other batches and sizes."""
    model = make_model().eval()
    other = make_x(9)
    expected = model(other)
    torch.testing.assert_close(torch.jit.trace(model, (make_x(),), strict=False)(other), expected)
    torch.testing.assert_close(torch.jit.trace(ByPlace(model), tuple(make_x().values()))(*other.values()), expected)


@pytest.mark.parametrize("width", [4000])
def test_an_exported_model_takes_batches_of_any_size(width):
    """``torch.export`` with a named ``Dim`` without bounds gives a program for every batch, also where layers are wide."""
    batch = torch.export.Dim("batch")
    model = make_model().eval()
    model.mlp = type(model.mlp)(model.deep_dims, dims=[width]).eval()
    x = make_x()
    program = torch.export.export(model, (x,), dynamic_shapes=({name: {0: batch} for name in x},))
    for n_row in (1, 9):
        torch.testing.assert_close(program.module()(make_x(n_row)), model(make_x(n_row)))


def test_an_onnx_model_of_the_tracer_predicts_as_the_model():
    """``torch.onnx.export(dynamo=False)`` writes a model that predicts the same for another batch size; the state_dict stays as it is."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    model, file = make_model().eval(), io.BytesIO()
    keys = list(model.state_dict())
    axes = {name: {0: "batch"} for name in [*NAMES, "probability"]}
    options = {"input_names": NAMES, "output_names": ["probability"], "dynamic_axes": axes, "dynamo": False}
    torch.onnx.export(ByPlace(model).eval(), tuple(make_x().values()), file, **options)
    other = make_x(9)
    feed = {name: value.numpy() for name, value in other.items()}
    (probability,) = ReferenceEvaluator(onnx.load_from_string(file.getvalue())).run(None, feed)
    np.testing.assert_allclose(probability, model(other).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert list(model.state_dict()) == keys
