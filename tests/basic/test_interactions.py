"""Interaction layers, each compared with its formula in loops."""

from collections.abc import Iterator
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from torch_rechub.basic import layers


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    """Formula and layer are compared to a relative error of 1e-7."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def randomized(layer: nn.Module) -> nn.Module:
    """The layer with random weights and biases, so that no term of a formula is zero."""
    for weight in layer.parameters():
        nn.init.normal_(weight, std=0.5)
    return layer


@given(n_row=st.integers(1, 3), n_field=st.integers(1, 4), width=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_fm_equals_the_double_loop(n_row: int, n_field: int, width: int):
    """FM is the sum over pairs of fields of their product, with and without the sum over the embedding."""
    x = torch.randn(n_row, n_field, width)
    want = sum((x[:, i] * x[:, j] for i, j in combinations(range(n_field), 2)), torch.zeros(n_row, width))
    torch.testing.assert_close(layers.FM(reduce_sum=False)(x), want)
    torch.testing.assert_close(layers.FM()(x), want.sum(dim=1, keepdim=True))


def test_ffm_equals_the_double_loop():
    """FFM multiplies the embedding of i for j by that of j for i, in the order of combinations."""
    x = torch.randn(2, 4, 4, 3)
    want = torch.stack([x[:, i, j] * x[:, j, i] for i, j in combinations(range(4), 2)], dim=1)
    assert torch.equal(layers.FFM(4, reduce_sum=False)(x), want)
    torch.testing.assert_close(layers.FFM(4)(x), want.sum(dim=2, keepdim=True))


@pytest.mark.parametrize("kind", ["field_all", "field_each", "field_interaction"])
def test_bilinear_equals_the_double_loop(kind: str):
    """Each pair is (W v_i) * v_j, where W is one matrix, the matrix of field i, or the matrix of the pair."""
    layer, x = layers.BiLinearInteractionLayer(3, 4, kind), torch.randn(2, 4, 3)
    want = []
    for p, (i, j) in enumerate(combinations(range(4), 2)):
        key = {"field_all": "", "field_each": f".{i}", "field_interaction": f".{p}"}[kind]
        want.append((x[:, i] @ layer.state_dict()[f"bilinear_layer{key}.weight"].t()) * x[:, j])
    torch.testing.assert_close(layer(x), torch.stack(want, dim=1))


def test_another_number_of_fields_is_refused():
    """An input with another number of fields raises an error."""
    with pytest.raises(ValueError, match="num_fields=3"):
        layers.BiLinearInteractionLayer(4, 3)(torch.zeros(2, 5, 4))
    with pytest.raises(ValueError, match="num_fields=3"):
        layers.FFM(3)(torch.zeros(2, 5, 5, 4))
    with pytest.raises(ValueError, match="bilinear_type must be one of"):
        layers.BiLinearInteractionLayer(4, 3, "field")


def test_cross_layers_equal_the_formula():
    """Each cross layer is x_0 * (w . x) + b + x, with a vector or a matrix; CrossLayer has no residual."""
    first = torch.randn(5, 4)
    single = randomized(layers.CrossLayer(4))
    other = torch.randn(5, 4)
    torch.testing.assert_close(single(first, other), first * (other * single.w.weight).sum(dim=1, keepdim=True) + single.b)
    for kind in (layers.CrossNetwork, layers.CrossNetV2):
        net = randomized(kind(4, num_layers=3))
        x = first
        for i in range(3):
            x = first * (x @ net.w[i].weight.t()) + net.b[i] + x
        torch.testing.assert_close(net(first), x)


def test_cross_net_mix_equals_a_loop_over_experts():
    """Each layer is the gated sum of x_0 * (U tanh(C tanh(V^T x)) + b) over experts, plus x."""
    net, first = randomized(layers.CrossNetMix(4, num_layers=2, low_rank=3, num_experts=2)), torch.randn(5, 4)
    x = first
    for i in range(2):
        gates = torch.cat([gate(x) for gate in net.gating], dim=1).softmax(dim=1)
        mixed = torch.zeros(5, 4)
        for k in range(2):
            low = torch.tanh(torch.tanh(x @ net.v_list[i][k]) @ net.c_list[i][k].t())
            mixed = mixed + gates[:, k : k + 1] * first * (low @ net.u_list[i][k].t() + net.bias[i].squeeze(1))
        x = mixed + x
    torch.testing.assert_close(net(first), x)


@pytest.mark.parametrize("split_half", [True, False])
def test_cin_equals_a_loop_over_pairs(split_half: bool):
    """Each map is the ReLU of a weighted sum over pairs (field, previous map); with split_half one half goes to the next layer."""
    cin, x = randomized(layers.CIN(3, [4, 2, 3], split_half)), torch.randn(2, 3, 5)
    hidden, outputs = x, []
    for k, convolve in enumerate(cin.conv_layers):
        pairs = [(i, j) for i in range(3) for j in range(hidden.shape[1])]
        maps = []
        for h in range(convolve.out_channels):
            terms = [convolve.weight[h, p, 0] * x[:, i] * hidden[:, j] for p, (i, j) in enumerate(pairs)]
            maps.append(torch.relu(sum(terms) + convolve.bias[h]))
        hidden = torch.stack(maps, dim=1)
        half = hidden.shape[1] // 2 if split_half and k < 2 else 0
        outputs.append((hidden[:, :half] if half else hidden).sum(dim=2))
        hidden = hidden[:, half:]
    torch.testing.assert_close(cin(x), cin.fc(torch.cat(outputs, dim=1)))


def test_cin_refuses_sizes_that_cannot_be_halved():
    """An odd size that must be halved and an empty cin_size raise an error in the constructor; the last size may be odd."""
    for wrong in ([], [3, 2]):
        with pytest.raises(ValueError, match="cin_size"):
            layers.CIN(3, wrong)
    layers.CIN(3, [3, 2], split_half=False)
    layers.CIN(3, [2, 3])


def test_senet_equals_the_formula():
    """Fields are scaled by relu(W2 relu(W1 mean)); the width of the bottleneck is F / ratio, at least 1."""
    layer, x = randomized(layers.SENETLayer(6, reduction_ratio=3)), torch.randn(4, 6, 2)
    first, second = layer.mlp[0].weight, layer.mlp[2].weight
    assert first.shape == (2, 6)
    assert layers.SENETLayer(2, 3).mlp[0].weight.shape == (1, 2)
    scale = torch.relu(torch.relu(x.mean(dim=2) @ first.t()) @ second.t())
    torch.testing.assert_close(layer(x), x * scale.unsqueeze(2))


def test_cen_scales_each_cross_by_its_attention():
    """The scale is the MLP of relu(sum_d u * em); the width of the bottleneck is at least 1."""
    layer, em = randomized(layers.CEN(4, 6, 2)).eval(), torch.randn(3, 6, 4)
    scale = layer.mlp_att(torch.relu(torch.einsum("pd,bpd->bp", layer.u, em)))
    torch.testing.assert_close(layer(em), (em * scale.unsqueeze(2)).view(3, 24))
    assert layers.CEN(4, 1, 3).mlp_att.mlp[0].out_features == 1


@pytest.mark.parametrize("residual", [True, False])
def test_interacting_layer_equals_a_loop_over_heads(residual: bool):
    """Each head is softmax attention with scaled inner products; heads are concatenated, then the residual and the ReLU follow."""
    layer, x = randomized(layers.InteractingLayer(6, num_heads=2, residual=residual)), torch.randn(2, 4, 6)
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        query, key, value = ((x @ w.weight.t())[..., part] for w in (layer.W_Q, layer.W_K, layer.W_V))
        heads.append((query @ key.transpose(1, 2) / 3**0.5).softmax(dim=-1) @ value)
    want = torch.cat(heads, dim=-1) + (x @ layer.W_Res.weight.t() if residual else 0)
    torch.testing.assert_close(layer(x), want.clamp(min=0))


def test_interacting_layer_has_dropout_in_training_only():
    """Two passes differ in training, because attention weights have dropout; in evaluation they are equal."""
    layer, x = layers.InteractingLayer(6, dropout=0.5), torch.randn(8, 4, 6)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_layers_refuse_bad_arguments():
    """Bad arguments raise an error in the constructor."""
    with pytest.raises(ValueError, match="num_heads must divide embed_dim=6; got num_heads=4"):
        layers.InteractingLayer(6, num_heads=4)
    with pytest.raises(ValueError, match="dropout"):
        layers.InteractingLayer(6, dropout=1.0)
    with pytest.raises(ValueError, match="reduction_ratio"):
        layers.SENETLayer(6, reduction_ratio=0)
    with pytest.raises(ValueError, match="reduction_ratio"):
        layers.CEN(4, 6, 0)
    with pytest.raises(ValueError, match="task_type"):
        layers.PredictionLayer("ranking")
