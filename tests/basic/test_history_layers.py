"""Layers that read histories: padding has no weight, no gradient and no part in a statistic."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torch_rechub.basic import layers
from torch_rechub.basic.activation import Dice
from torch_rechub.basic.normalization import masked_batch_norm

B, L, D = 5, 4, 6


def random_of(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.double)


def randomized(layer):
    generator = torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        parameter.data = 0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.double)
    return layer.double()


def mask_of(*lengths):
    return torch.arange(L) < torch.tensor(lengths)[:, None]


HISTORY, TARGET, MASK = random_of(B, L, D), random_of(B, D), mask_of(4, 0, 1, 3, 2)


@pytest.mark.parametrize("make", [lambda: layers.BatchNorm1d(3), lambda: Dice(n_neuron=3)])
def test_masked_statistics_are_those_of_the_rows_that_count(make):
    """Outputs, gradients and running averages are those of a batch without the other rows; one row uses the averages."""
    x, mask = random_of(7, 3), torch.tensor([True, False, True, True, False, True, False])
    masked, alone = randomized(make()), randomized(make())
    for keep in (mask, torch.arange(7) == 3, mask, torch.zeros(7, dtype=torch.bool)):
        given, kept = x.clone().requires_grad_(), x[keep].requires_grad_()
        output = masked(given, keep)
        output[keep].square().sum().backward()
        if not keep.any():
            continue
        expected = alone(kept)
        expected.square().sum().backward()
        torch.testing.assert_close(output[keep], expected)
        torch.testing.assert_close(given.grad[keep], kept.grad)
        assert not given.grad[~keep].any()
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(getattr(masked, name), getattr(alone, name))
    assert output.isfinite().all()
    torch.testing.assert_close(masked.eval()(x, mask), alone.eval()(x))
    torch.testing.assert_close(
        masked_batch_norm(x, mask, None, None, training=True)[mask], F.batch_norm(x[mask], None, None, training=True), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("use_softmax", [False, True])
def test_activation_unit_is_a_loop_over_entries(use_softmax):
    """Each entry has the weight of a network of [t, e, t - e, t * e]; padding has none, and no entry gives zeros."""
    unit = randomized(layers.ActivationUnit(D, dims=[3], use_softmax=use_softmax)).eval()
    for row in range(B):
        entries = [HISTORY[row, i] for i in range(L) if MASK[row, i]]
        t = TARGET[row]
        scores = [unit.attention(torch.cat([t, e, t - e, t * e])[None])[0, 0] for e in entries]
        if use_softmax and scores:
            total = sum(score.exp() for score in scores)
            scores = [score.exp() / total for score in scores]
        expected = sum((a * e for a, e in zip(scores, entries, strict=True)), torch.zeros(D, dtype=torch.double))
        torch.testing.assert_close(unit(HISTORY, TARGET, MASK)[row], expected)
    everything = torch.ones(B, L, dtype=torch.bool)
    torch.testing.assert_close(unit(HISTORY, TARGET), unit(HISTORY, TARGET, everything))


def augru_by_hand(layer, entries, target):
    """Eq. 14 and 16-17, step by step."""
    state, cell = torch.zeros(D, dtype=torch.double), layer.augru_cell
    scores = [(e @ layer.Wa @ target).exp() for e in entries]
    for e, score in zip(entries, scores, strict=True):
        u = torch.sigmoid(e @ cell.Wu + state @ cell.Uu + cell.bu[0]) * score / sum(scores)
        r = torch.sigmoid(e @ cell.Wr + state @ cell.Ur + cell.br[0])
        candidate = torch.tanh(e @ cell.Wh + r * (state @ cell.Uh) + cell.bh[0])
        state = (1 - u) * state + u * candidate
    return state


@pytest.mark.parametrize("hooked", [False, True])
def test_augru_is_its_equations_step_by_step(hooked):
    """The last state is that of a loop over the entries, with and without a hook on the cell; padding may lie anywhere."""
    layer, calls = randomized(layers.AUGRU(D)), []
    if hooked:
        layer.augru_cell.register_forward_hook(lambda *_: calls.append(1))
    for mask in (MASK, MASK.flip(1), torch.tensor([[True, False, True, False]] * B)):
        states, last = layer(HISTORY, TARGET, mask)
        expected = torch.stack([augru_by_hand(layer, [HISTORY[i, j] for j in range(L) if mask[i, j]], TARGET[i]) for i in range(B)])
        torch.testing.assert_close(last, expected)
        torch.testing.assert_close(states[:, -1], last)
    assert len(calls) == (3 * L if hooked else 0)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_transformer_is_that_of_torch_at_the_last_position(num_layers):
    """With the weights of nn.TransformerEncoder, which load strictly, it gives its output at the last position."""
    layer = nn.TransformerEncoderLayer(D, 2, dim_feedforward=7, dropout=0.3, activation=nn.LeakyReLU(), batch_first=True)
    torch_encoder = randomized(nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)).eval()
    ours = layers.LastPositionTransformer(D, 2, num_layers, 0.3, 7).double().eval()
    ours.load_state_dict(torch_encoder.state_dict())
    mask = torch.cat([MASK, torch.ones(B, 1, dtype=torch.bool)], dim=1)
    sequence = torch.cat([HISTORY, TARGET[:, None]], dim=1)
    torch.testing.assert_close(ours(sequence, mask), torch_encoder(sequence, src_key_padding_mask=~mask)[:, -1])


def test_target_attention_is_a_loop_over_heads_and_entries():
    """Each head is the mean of the entries by the softmax of its products with the target; no entry gives zeros."""
    layer = randomized(layers.TargetAttention(D, num_heads=2, attention_dim=3))
    for row in range(B):
        entries, heads = [HISTORY[row, i] for i in range(L) if MASK[row, i]], []
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            weights = [((layer.to_key.weight[part] @ e) @ (layer.to_query.weight[part] @ TARGET[row]) / 3**0.5).exp() for e in entries]
            mean = sum((w / sum(weights) * e for w, e in zip(weights, entries, strict=True)), torch.zeros(D, dtype=torch.double))
            heads.append(mean)
        torch.testing.assert_close(layer(HISTORY, TARGET, MASK)[row], torch.cat(heads))


def test_hash_attention_is_a_loop_over_signatures():
    """For each signature the sum of the entries with that of the target, divided by its norm; then the mean over the signatures."""
    torch.manual_seed(3)
    layer = layers.HashAttention(D, n_hash=6, hash_bits=2).double()
    n_equal = 0
    for row in range(B):
        total = torch.zeros(D, dtype=torch.double)
        for first in (0, 2, 4):
            bits = layer.projections[:, first : first + 2]
            equal = [HISTORY[row, i] for i in range(L) if MASK[row, i] and torch.equal(HISTORY[row, i] @ bits > 0, TARGET[row] @ bits > 0)]
            n_equal += len(equal)
            if equal:
                total += sum(equal) / sum(equal).norm()
        torch.testing.assert_close(layer(HISTORY, TARGET, MASK)[row], total / 3)
    assert n_equal > 3


LAYERS = {
    "ActivationUnit": lambda: layers.ActivationUnit(D, dims=[3]),
    "ActivationUnit by softmax": lambda: layers.ActivationUnit(D, dims=[3], use_softmax=True),
    "AUGRU": lambda: layers.AUGRU(D),
    "TargetAttention": lambda: layers.TargetAttention(D),
    "HashAttention": lambda: layers.HashAttention(D, n_hash=12, hash_bits=1),
}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_padding_has_no_effect_in_training(name):
    """More padding, and other values in it, change no output, no statistic and no gradient; padding itself gets none."""
    layer = randomized(LAYERS[name]())
    results = []
    for width, value in ((0, 0.0), (3, 100.0)):
        copied = copy.deepcopy(layer)
        history = torch.cat([HISTORY.masked_fill(~MASK[:, :, None], value), torch.full((B, width, D), value).double()], 1).requires_grad_()
        mask = torch.cat([MASK, torch.zeros(B, width, dtype=torch.bool)], dim=1)
        output = copied(history, TARGET, mask)
        output = output[1] if isinstance(output, tuple) else output
        output.square().sum().backward()
        assert not history.grad[~mask].any()
        assert history.grad[mask].any(1).all()
        gradients = {key: parameter.grad for key, parameter in copied.named_parameters()}
        results.append([output, history.grad[:, :L], gradients, dict(copied.named_buffers())])
    torch.testing.assert_close(results[1], results[0])
