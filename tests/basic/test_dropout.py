"""Dropout: the share of zeros, the mean, and the random state."""

import pytest
import torch

from torch_rechub.basic.layers import Dropout


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1000, 333), (99_999,)])
def test_dropout_has_the_right_share_of_zeros_and_scale(p, shape):
    """Each entry is zero with probability p and scaled by 1 / (1 - p) otherwise, for any shape."""
    torch.manual_seed(1)
    out = Dropout(p)(torch.ones(shape))
    n = out.numel()
    share = (out == 0).double().mean().item()
    assert abs(share - p) < 5 * (p * (1 - p) / n) ** 0.5 + 2**-16
    scaled = out[out != 0]
    assert torch.equal(scaled, scaled[:1].expand_as(scaled))
    assert scaled[0].item() == pytest.approx(1 / (1 - p), rel=2**-16 / (1 - p))


def test_dropout_entries_are_independent():
    """The four entries of one random number are uncorrelated with each other and with their neighbours."""
    torch.manual_seed(2)
    zero = (Dropout(0.5)(torch.ones(400_000)) == 0).double() - 0.5
    for lag in (1, 2, 3, 4, 5, 8):
        correlation = (zero[lag:] * zero[:-lag]).mean().item() * 4
        assert abs(correlation) < 5 / 400_000**0.5


def test_dropout_uses_torch_manual_seed():
    """The same seed gives the same mask, and the next call gives another one."""
    layer, x = Dropout(0.3), torch.ones(64, 8)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x))
    assert not torch.equal(first, layer(x))


def test_dropout_gradient_is_the_mask():
    """The gradient is the mask of the forward pass."""
    x = torch.full((50, 7), 2.0, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert torch.equal(x.grad * 2.0, out)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_with_probability_zero_and_one(p):
    """p = 0 returns the input; p = 1 returns zeros, without NaN."""
    x = torch.randn(10, 3)
    assert torch.equal(Dropout(p)(x), x * (1 - p))


def test_dropout_is_the_identity_in_evaluation():
    """In evaluation mode the layer returns its input."""
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
