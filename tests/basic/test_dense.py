"""Linear computes the same as nn.Linear with both libraries."""

import pytest
import torch
from torch import nn

from torch_rechub.basic.layers import dense


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2048, 429, 256), (513, 100, 100), (4096, 37, 41), (1, 3000, 2000)])
def test_one_dnn_computes_what_linear_does(monkeypatch, bias, shape):
    """Values and all three gradients equal those of nn.Linear to float32 rounding, for contiguous and other inputs."""
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
    for value, exact in pairs + ([(ours.bias.grad, theirs.bias.grad)] if bias else []):
        torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())


def test_small_and_unusual_inputs_use_torch(monkeypatch):
    """Small products, other dtypes and other numbers of axes give the bits of nn.Linear."""
    monkeypatch.setattr(dense, "one_dnn_is_faster", lambda: True)
    ours = dense.Linear(64, 32)
    theirs = nn.Linear(64, 32)
    theirs.load_state_dict(ours.state_dict())
    for x in (torch.randn(7, 64), torch.randn(600, 5, 64), torch.randn(64)):
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.double()(torch.ones(5000, 64).double()), theirs.double()(torch.ones(5000, 64).double()))


def test_the_choice_depends_on_the_processor_only():
    """Two calls return the same value, because no time is measured."""
    assert dense.one_dnn_is_faster() is dense.one_dnn_is_faster()


def test_second_order_gradients_work(monkeypatch):
    """A penalty on the gradient of the input gives the same gradient of the weights as nn.Linear."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(dense, "one_dnn_is_faster", lambda: True)
    torch.manual_seed(0)
    second_order = []
    ours, theirs = dense.Linear(100, 80), nn.Linear(100, 80)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(512, 100, requires_grad=True)
    for layer in (ours, theirs):
        (grad,) = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
        second_order.append(torch.autograd.grad(grad.pow(2).mean(), layer.weight)[0])
    torch.testing.assert_close(second_order[0], second_order[1], rtol=1e-4, atol=1e-4 * second_order[1].abs().max().item())


def test_tracing_and_functional_gradients_work(monkeypatch):
    """torch.func.grad and nn.functional.linear give the same gradient and output as the layer."""
    monkeypatch.setattr(dense, "one_dnn_is_faster", torch.backends.mkldnn.is_available)
    layer, x = dense.Linear(100, 80), torch.randn(512, 100)
    weights = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(weights):
        return torch.func.functional_call(layer, weights, (x,)).square().mean()

    gradients = torch.func.grad(loss)(weights)
    layer(x).square().mean().backward()
    torch.testing.assert_close(gradients["weight"], layer.weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(torch.nn.functional.linear(x, layer.weight, layer.bias), layer(x), rtol=1e-4, atol=1e-4)
