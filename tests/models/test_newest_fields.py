"""The newest models of fields equal the equations of their papers, row by row; misuse of the newest models."""

from __future__ import annotations

import pytest
import torch
import zoo
from oracle import assert_rows, inputs_of, random_model, stacked
from torch import nn
from torch.nn.functional import binary_cross_entropy as bce

from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models import ranking

NARROW = SparseFeature("narrow", 5, 1)


def exp_weights(scores):
    """Softmax of a list of numbers."""
    powers = [torch.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(
    "changes",
    [{}, {"relu_before_att": True, "residual_mode": None}, {"residual_mode": "last_layer", "use_scale": False}, {"use_wide": True}],
)
def test_destine_attends_by_pairs_and_by_fields(changes):
    """DESTINE's attention is a softmax of centered products of pairs of fields and one of a number a field, for each head."""
    model, x = random_model("DESTINE", **changes)

    def attend(layer, vectors):
        n_head, n_field = layer.num_heads, len(vectors)
        act = torch.relu if layer.relu else (lambda vector: vector)
        query, key, value = ([act(w(v)) for v in vectors] for w in (layer.W_Q, layer.W_K, layer.W_V))
        width, out = len(query[0]) // n_head, [[] for _ in vectors]
        for head in range(n_head):
            part = slice(head * width, (head + 1) * width)
            q, k = ([v[part] - sum(u[part] for u in each) / n_field for v in each] for each in (query, key))
            unary = exp_weights([layer.W_unary(v)[head] for v in vectors])
            for m in range(n_field):
                pairs = exp_weights([q[m] @ k[n] * layer.factor for n in range(n_field)])
                out[m].append(sum((pairs[n] + unary[n]) * value[n][part] for n in range(n_field)))
        attended = [torch.cat(parts) for parts in out]
        return attended if layer.W_Res is None else [a + layer.W_Res(v) for a, v in zip(attended, vectors, strict=True)]

    def logit(row):
        vectors = first = stacked(model, x, row)
        for layer in model.attention:
            vectors = attend(layer, vectors)
        if model.residual is not None:
            vectors = [v + model.residual(u) for v, u in zip(vectors, first, strict=True)]
        total = model.fc(torch.cat(vectors))
        if model.linear is not None:
            total = total + model.linear(x)[row]
        return total + model.mlp(inputs_of(model.embedding, model.features, x, row)[None])[0]

    assert_rows(model, x, logit)


@pytest.mark.parametrize("changes", [{}, {"num_heads": 2}, {"layer_norm": False}])
def test_fcn_is_two_cross_networks_with_masks(changes):
    """FCN's layers multiply by [h, h * relu(LN(h))] + b: the layer's own input, or the first one; heads are averaged."""
    model, x = random_model("FCN", **changes)

    def network(sequence, inputs):
        cross, out = sequence
        hidden = inputs
        for w, b, norm in zip(cross.w, cross.b, cross.norm, strict=True):
            half = w.weight @ hidden
            if isinstance(norm, nn.LayerNorm):
                centered = half - half.mean()
                normalised = centered / (centered.square().mean() + 1e-5).sqrt() * norm.weight + norm.bias
            else:
                normalised = half
            masked = half * normalised.clamp(min=0)
            hidden = (hidden if cross.exponential else inputs) * (torch.cat([half, masked]) + b) + hidden
        return out(hidden)

    def logit(row):
        vectors, n_head = stacked(model, x, row), model.num_heads
        width, total = len(vectors[0]) // n_head, 0.0
        for head in range(n_head):
            parts = [v[head * width : (head + 1) * width] for v in vectors]
            inputs = torch.cat([*(p[: width // 2] for p in parts), *(p[width // 2 :] for p in parts)])
            total = total + 0.5 * (network(model.exponential, inputs) + network(model.linear, inputs)) / n_head
        return total

    assert_rows(model, x, logit)


def test_fcn_weighs_the_loss_of_a_network_by_its_excess():
    """Tri-BCE: L + max(0, L_E - L) L_E + max(0, L_L - L) L_L; a network that is better than both together adds nothing."""
    model, (x, y) = zoo.model("FCN", exponential_dropout=0.0, linear_dropout=0.0), zoo.tensors(12)
    logits, parts = model.outputs(x)
    torch.testing.assert_close(model((x, y)), bce(logits.sigmoid(), y) + model.auxiliary_loss(logits, parts, y, None))
    better, worse = 2 * y - 1, 1 - 2 * y + 0.5
    both, loss = (bce(part.sigmoid(), y) for part in (0.5 * (better + worse), worse))
    assert loss > both > bce(better.sigmoid(), y)
    torch.testing.assert_close(model.auxiliary_loss(0.5 * (better + worse), (better, worse), y, None), loss * (loss - both))


@pytest.mark.parametrize("changes", [{}, {"num_heads": 2}, {"norm": None, "num_rows": 2}])
def test_qnn_alpha_sums_products_with_rows(changes):
    """QNN-alpha adds the products of the input, head after head, with all rows of h to the input."""
    model, x = random_model("QNNAlpha", **changes)

    def logit(row):
        hidden = torch.cat(stacked(model, x, row))
        for layer in list(model.layers)[:-1]:
            n_field, n_head, width = layer.shape
            rows = layer.hidden(hidden[None])[0]  # (R, F * D)
            order = [f * n_head * width + h * width + d for h in range(n_head) for f in range(n_field) for d in range(width)]
            products = [sum(hidden[order[i]] * rows[r, i] for r in range(len(rows))) for i in range(len(hidden))]
            hidden = torch.stack(products) + hidden
        return model.layers[-1](hidden)

    assert_rows(model, x, logit)


def test_qnn_alpha_learns_from_the_mean_of_two_passes():
    """In training the prediction is the mean of two passes with different dropout, and each learns from it as from a constant."""
    model, (x, y) = zoo.model("QNNAlpha", dropout=0.4), zoo.tensors(12)
    torch.manual_seed(0)
    logits, (first, second) = model.outputs(x)
    assert not torch.equal(first, second)
    mean = (first.sigmoid() + second.sigmoid()) / 2
    torch.testing.assert_close(logits.sigmoid(), mean)
    torch.manual_seed(0)
    teacher = mean.detach()
    torch.testing.assert_close(model((x, y)), bce(mean, y) + bce(first.sigmoid(), teacher) + bce(second.sigmoid(), teacher))
    (gradient,) = torch.autograd.grad(model.auxiliary_loss(logits, (first, second), y, None), first)
    torch.testing.assert_close(gradient, (first.sigmoid() - teacher) / len(y))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ranking.FinalMLP([], {"dims": [4]}, {"dims": [4]}), "FinalMLP: features must hold at least one feature"),
        (lambda: ranking.FinalMLP([zoo.USER], {}, {"dims": [4]}), "mlp1_params must have at least one hidden layer"),
        (lambda: ranking.FinalMLP([zoo.USER], {"dims": [4]}, {"dims": [6]}, num_heads=4), "divide the last width of mlp2_params, 6"),
        (lambda: ranking.FinalMLP([zoo.USER], {"dims": [4]}, {"dims": [4]}, num_heads=0), "num_heads must be an integer >= 1"),
        (lambda: ranking.GDCN([SequenceFeature("s", 5, 4, "concat")], {}), "GDCN: features: sequences must be pooled"),
        (lambda: ranking.MaskNet([zoo.USER], {}, "serial"), "mlp_params must have the widths of the serial blocks"),
        (lambda: ranking.MaskNet([zoo.USER, SparseFeature("wide", 5, 8)], {}), "MaskNet: embedded features in features must have one"),
        (lambda: ranking.FinalNet([zoo.USER], {"dims": [3]}), "every width must be even; got 3"),
        (lambda: ranking.DESTINE([zoo.USER], residual_mode="all"), "DESTINE: residual_mode must be"),
        (lambda: ranking.DESTINE([zoo.AGE]), "DESTINE: features must hold at least 1 SparseFeature"),
        (lambda: ranking.DESTINE([zoo.USER], attention_dim=5), "num_heads must divide attention_dim=5"),
        (lambda: ranking.FCN([zoo.USER], num_heads=4), "FCN: embed_dim must be a multiple of 2 .* = 8; got 4"),
        (lambda: ranking.QNNAlpha([zoo.USER], num_heads=3), "QNNAlpha: num_heads must divide embed_dim=4"),
        (lambda: ranking.QNNAlpha([zoo.USER], dropout=1.0), "QNNAlpha: dropout must be >= 0 and < 1; got 1.0"),
        (lambda: ranking.QNNAlpha([zoo.USER], norm="group"), "QNNAlpha: norm must be 'batch' or 'layer' or None"),
        (lambda: ranking.TF4CTR([zoo.USER], {"dims": [4]}, {}), "TF4CTR: hard_params must have dims"),
        (lambda: ranking.TF4CTR([zoo.USER], {"dims": [4]}, {"dims": [4]}, c=1.5), r"c and alpha must be in \[0, 1\].*c=1.5"),
        (lambda: ranking.TF4CTR([NARROW], {"dims": [4]}, {"dims": [4]}), "'separate' needs an embed_dim of 2 or more; got 1"),
        (lambda: ranking.TF4CTR([zoo.USER], {"dims": [4]}, {"dims": [4]}, fusion="mean"), "TF4CTR: fusion must be"),
        (lambda: ranking.Wukong([zoo.USER], {}, {"dims": [4]}, rank=0), "Wukong: rank must be an integer >= 1; got 0"),
        (lambda: ranking.GDCN([zoo.USER], {}, model_structure="both"), "GDCN: model_structure must be 'parallel' or 'stacked'"),
    ],
)
def test_misuse_of_the_newest_models_names_the_argument(make, said):
    """Arguments that a model cannot use are an error at construction that names the model and the argument."""
    with pytest.raises(ValueError, match=said):
        make()
