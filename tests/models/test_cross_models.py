"""WideDeep, DCN and DCNv2 equal their formulas, row by row in float64."""

from __future__ import annotations

import by_hand
import pytest
import torch
import zoo

from torch_rechub.basic.features import SequenceFeature
from torch_rechub.models.ranking import DCN, DCNv2, WideDeep


def logits_by_hand(model, x, formula):
    return torch.stack([formula(row).squeeze() for row in range(len(x["user"]))])


@pytest.mark.parametrize("linear", ["embedding", "id"])
def test_widedeep_is_a_linear_part_and_a_network(linear):
    """The logits are the linear part of all wide columns plus the network of all deep columns (eq. 3)."""
    model, x = by_hand.model_in_double("WideDeep", linear=linear), by_hand.rows()
    state = model.state_dict()

    def wide(row):
        if linear == "embedding":
            return state["linear.fc.weight"][0] @ by_hand.flat(model, x, row, model.wide_features) + state["linear.fc.bias"][0]
        weights = [state[f"linear.embedding.embed_dict.{name}.weight"][x[name][row], 0] for name in ("user", "item")]
        return sum(weights) + state["linear.fc.weight"][0, 0] * x["age"][row] + state["linear.bias"][0]

    def formula(row):
        return wide(row) + by_hand.network(model.mlp, by_hand.flat(model, x, row, model.deep_features))

    torch.testing.assert_close(model.logits(x), logits_by_hand(model, x, formula))


def crossed(model, first, prefix):
    """The cross layers of DCN: x_0 (w . x) + b + x."""
    state, x = model.state_dict(), first
    for layer in range(2):
        weight, bias = state[f"{prefix}.w.{layer}.weight"], state[f"{prefix}.b.{layer}"]
        x = torch.stack([first[i] * (weight[min(i, len(weight) - 1)] @ x) + bias[i] + x[i] for i in range(len(first))])
    return x


def mixed(model, first):
    """The cross layers of DCN V2 with a mixture: a loop over experts (eq. 3-4)."""
    state, x = model.state_dict(), first
    for layer in range(2):
        scores = torch.stack([state[f"crossnet.gating.{k}.weight"][0] @ x for k in range(2)]).exp()
        bias = state[f"crossnet.bias.{layer}"][:, 0]
        total = x
        for k in range(2):
            u, v, c = (state[f"crossnet.{part}_list.{layer}"][k] for part in "uvc")
            total = total + scores[k] / scores.sum() * first * (u @ torch.tanh(c @ torch.tanh(v.t() @ x)) + bias)
        x = total
    return x


@pytest.mark.parametrize("alone", [True, False])
def test_dcn_is_a_cross_network_beside_a_network(alone):
    """The logits are linear in the last cross layer and, side by side with it, the last hidden layer (eq. 5)."""
    model, x = by_hand.model_in_double("DCN", **({"mlp_params": None} if alone else {})), by_hand.rows()
    fc = model.linear.fc

    def formula(row):
        first = by_hand.flat(model, x, row, model.features)
        parts = [crossed(model, first, "cn")] + ([] if alone else [by_hand.network(model.mlp, first)])
        return fc.weight[0] @ torch.cat(parts) + fc.bias

    torch.testing.assert_close(model.logits(x), logits_by_hand(model, x, formula))


@pytest.mark.parametrize("structure", ["parallel", "stacked", "crossnet_only"])
@pytest.mark.parametrize("mixture", [True, False])
def test_dcn_v2_is_its_formula_in_each_structure(structure, mixture):
    """The network reads the crosses (stacked), stands beside them (parallel) or is missing (section 3.4)."""
    model = by_hand.model_in_double("DCNv2", model_structure=structure, use_low_rank_mixture=mixture)
    x, fc = by_hand.rows(), model.linear.fc

    def formula(row):
        first = by_hand.flat(model, x, row, model.features)
        final = mixed(model, first) if mixture else crossed(model, first, "crossnet")
        if structure == "stacked":
            final = by_hand.network(model.stacked_dnn, final)
        elif structure == "parallel":
            final = torch.cat([final, by_hand.network(model.parallel_dnn, first)])
        return fc.weight[0] @ final + fc.bias

    torch.testing.assert_close(model.logits(x), logits_by_hand(model, x, formula))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WideDeep([], [zoo.USER], {}), "WideDeep: wide_features must hold at least one feature; got none"),
        (lambda: WideDeep([zoo.USER], [], {}), "WideDeep: deep_features must hold at least one feature"),
        (lambda: WideDeep([zoo.USER], [SequenceFeature("s", 5, 4, "concat")], {}), "WideDeep: deep_features: sequences must be pooled"),
        (lambda: WideDeep([zoo.USER], [zoo.USER], {}, linear="ids"), "WideDeep: linear must be 'embedding' or 'id'; got 'ids'"),
        (lambda: DCN([], 1, {"dims": [4]}), "DCN: features must hold at least one feature"),
        (lambda: DCN([zoo.USER], 0, {"dims": [4]}), "DCN: n_cross_layers must be an integer >= 1; got 0"),
        (lambda: DCN([zoo.USER], 1, {"dropout": 0.1}), "DCN: mlp_params must have dims, the width of each hidden layer"),
        (lambda: DCN([zoo.USER], 1, {"dims": []}), "DCN: mlp_params must have dims, the width of each hidden layer"),
        (lambda: DCNv2([zoo.USER], 1, {"dims": [4]}, "paralel"), "DCNv2: model_structure must be 'parallel' or 'stacked'"),
        (lambda: DCNv2([zoo.USER], 1, {"dims": [4]}, low_rank=0), "DCNv2: low_rank must be an integer >= 1; got 0"),
        (lambda: DCNv2([zoo.USER], 1, {"dims": [4]}, num_experts=1.5), "DCNv2: num_experts must be an integer >= 1; got 1.5"),
        (lambda: DCNv2([zoo.USER], 1, {}), "DCNv2: mlp_params must have dims"),
    ],
)
def test_wrong_arguments_are_refused(make, said):
    """An argument that cannot be used is an error at construction, which names it."""
    with pytest.raises(ValueError, match=said):
        make()


def test_models_keep_no_reference_to_their_arguments():
    """Changes of the given lists and dict do not change the model, which changes none of them either."""
    for make in (lambda f, p: WideDeep(f, f, p), lambda f, p: DCN(f, 1, p), lambda f, p: DCNv2(f, 1, p)):
        features, params = [zoo.USER, zoo.AGE], {"dims": [4]}
        model, (x, _) = make(features, params).eval(), zoo.tensors(3)
        assert (len(features), params) == (2, {"dims": [4]})
        expected = model(x)
        features.clear()
        params.clear()
        assert torch.equal(model(x), expected)
