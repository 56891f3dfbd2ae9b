"""Linear is nn.Linear, whichever library multiplies."""

import pytest
import torch
from torch import nn

from torch_rechub.basic.layers import dense


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2048, 429, 256), (513, 100, 100), (4096, 37, 41), (1, 3000, 2000)])
def test_one_dnn_computes_what_linear_does(monkeypatch, bias, shape):
    """Values and all three gradients agree with nn.Linear to float32 rounding, contiguous or not, on any processor that has oneDNN."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(dense, "one_dnn_is_faster", lambda: True)
    n_row, width, n_out = shape
    torch.manual_seed(0)
    ours = dense.Linear(width, n_out, bias=bias)
    theirs = nn.Linear(width, n_out, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(width, n_row).t().requires_grad_()
    x64 = x.detach().double().requires_grad_()
    grad = torch.randn(n_row, n_out)
    out = ours(x)
    out.backward(grad)
    theirs(x64).backward(grad.double())
    assert out.grad_fn.name() == "_OneDNNBackward"
    pairs = [(out, theirs(x64)), (x.grad, x64.grad), (ours.weight.grad, theirs.weight.grad)]
    for mine, exact in pairs + ([(ours.bias.grad, theirs.bias.grad)] if bias else []):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())


def test_small_and_odd_inputs_are_left_to_torch(monkeypatch):
    """Small products, other types and more than two axes give the bits of nn.Linear."""
    monkeypatch.setattr(dense, "one_dnn_is_faster", lambda: True)
    ours = dense.Linear(64, 32)
    theirs = nn.Linear(64, 32)
    theirs.load_state_dict(ours.state_dict())
    for x in (torch.randn(7, 64), torch.randn(600, 5, 64), torch.randn(64)):
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.double()(torch.ones(5000, 64).double()), theirs.double()(torch.ones(5000, 64).double()))


def test_the_choice_is_a_fact_of_the_processor():
    """Asked twice, the answer is the same: no timing is involved."""
    assert dense.one_dnn_is_faster() is dense.one_dnn_is_faster()


def test_gradients_of_gradients_are_there(monkeypatch):
    """A penalty on the input's gradient trains the weights as it does through nn.Linear."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(dense, "one_dnn_is_faster", lambda: True)
    torch.manual_seed(0)
    found = []
    ours, theirs = dense.Linear(100, 80), nn.Linear(100, 80)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(512, 100, requires_grad=True)
    for layer in (ours, theirs):
        (grad,) = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(grad.pow(2).mean(), layer.weight)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4 * found[1].abs().max().item())


def test_tracing_and_functional_gradients_work(monkeypatch):
    """torch.jit.trace and torch.func.grad take the layer on any processor."""
    monkeypatch.setattr(dense, "one_dnn_is_faster", torch.backends.mkldnn.is_available)
    layer, x = dense.Linear(100, 80), torch.randn(512, 100)
    weights = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(weights):
        return torch.func.functional_call(layer, weights, (x,)).square().mean()

    found = torch.func.grad(loss)(weights)
    layer(x).square().mean().backward()
    torch.testing.assert_close(found["weight"], layer.weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(torch.nn.functional.linear(x, layer.weight, layer.bias), layer(x), rtol=1e-4, atol=1e-4)
