"""The newest models equal the equations of their papers, row by row."""

from __future__ import annotations

import pytest
import torch
import zoo
from oracle import inputs_of, random_model

from torch_rechub.basic.features import SequenceFeature
from torch_rechub.models import ranking


def assert_rows(model, x, expected):
    """The logits of a model are those of a function of one row."""
    with torch.no_grad():
        rows = torch.stack([torch.as_tensor(expected(row)).reshape(()) for row in range(5)])
        torch.testing.assert_close(model.logits(x), rows, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("changes", [{}, {"fs2_context": [zoo.ITEM, zoo.AGE]}, {"use_fs": False}, {"num_heads": 1}])
def test_finalmlp_is_a_bilinear_form_of_two_gated_networks(changes):
    """FinalMLP is eq. 5-10: gates of the contexts, two networks, and a double loop over the entries of each head."""
    model, x = random_model("FinalMLP", **changes)

    def gate(place, row):
        part = model.gates[place]
        context = part.vector[0] if part.embedding is None else inputs_of(part.embedding, part.context, x, row)
        first, out = part.mlp.mlp[0], part.out
        return 2 * torch.sigmoid(out.weight @ torch.relu(first.weight @ context + first.bias) + out.bias)

    def logit(row):
        inputs = inputs_of(model.embedding, model.read_features, x, row)
        gated = [inputs * gate(place, row) for place in range(2)] if len(model.gates) else [inputs, inputs]
        first, second = model.mlp1(gated[0][None])[0], model.mlp2(gated[1][None])[0]
        fusion = model.fusion
        total = fusion.w1.bias[0] + fusion.w1.weight[0] @ first + fusion.w2.weight[0] @ second
        n_first, n_second = len(first) // fusion.num_heads, len(second) // fusion.num_heads
        for k in range(fusion.num_heads):
            for i in range(n_first):
                for j in range(n_second):
                    total = total + first[k * n_first + i] * fusion.w12[k, i, j] * second[k * n_second + j]
        return total

    assert_rows(model, x, logit)


@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_gdcn_is_a_gated_cross_beside_or_below_a_network(structure):
    """GDCN is eq. 2, entry by entry, and the network of the input or of the last cross."""
    model, x = random_model("GDCN", model_structure=structure, n_cross_layers=2)

    def logit(row):
        first = inputs_of(model.embedding, model.features, x, row)
        crossed, d = first, len(first)
        for w, b in zip(model.cross.w, model.cross.b, strict=True):
            gates = [1 / (1 + torch.exp(-w.weight[d + i] @ crossed)) for i in range(d)]
            crossed = torch.stack([first[i] * (w.weight[i] @ crossed + b[i]) * gates[i] + crossed[i] for i in range(d)])
        if structure == "stacked":
            return model.mlp(crossed[None])
        return model.fc(torch.cat([crossed, model.mlp(first[None])[0]]))

    assert_rows(model, x, logit)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ranking.FinalMLP([], {"dims": [4]}, {"dims": [4]}), "FinalMLP: features must hold at least one feature"),
        (lambda: ranking.FinalMLP([zoo.USER], {}, {"dims": [4]}), "mlp1_params must have at least one hidden layer"),
        (lambda: ranking.FinalMLP([zoo.USER], {"dims": [4]}, {"dims": [6]}, num_heads=4), "divide the last width of mlp2_params, 6"),
        (lambda: ranking.FinalMLP([zoo.USER], {"dims": [4]}, {"dims": [4]}, num_heads=0), "num_heads must be an integer >= 1"),
        (lambda: ranking.GDCN([SequenceFeature("s", 5, 4, "concat")], {}), "GDCN: features: sequences must be pooled"),
        (lambda: ranking.GDCN([zoo.USER], {}, model_structure="both"), "GDCN: model_structure must be 'parallel' or 'stacked'"),
    ],
)
def test_misuse_of_the_newest_models_names_the_argument(make, said):
    """Arguments that a model cannot use are an error at construction that names the model and the argument."""
    with pytest.raises(ValueError, match=said):
        make()
