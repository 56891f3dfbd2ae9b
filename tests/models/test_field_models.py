"""AFM, FiBiNet, AutoInt, EDCN, DeepFFM and FatDeepFFM equal their formulas, row by row in float64."""

from __future__ import annotations

from itertools import combinations

import by_hand
import pytest
import torch
import zoo

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.ranking import AFM, EDCN, AutoInt, DeepFFM, FatDeepFFM, FiBiNet
from torch_rechub.models.ranking.edcn import BRIDGES, BridgeModule, RegulationModule


def compare(model, x, formula):
    """The logits are those of the formula, a function of the row."""
    by_row = torch.stack([formula(row).squeeze() for row in range(len(x["user"]))])
    torch.testing.assert_close(model.logits(x), by_row)


def linear_part(layer, columns):
    return layer.weight[0] @ columns + layer.bias


@pytest.mark.parametrize("linear", ["embedding", "id"])
def test_afm_is_a_linear_part_and_an_attention_over_pairs(linear):
    """The products of all pairs are summed by a softmax of the attention network over the pairs (eq. 5-6)."""
    model, x = by_hand.model_in_double("AFM", linear=linear), by_hand.rows()
    state = model.state_dict()

    def formula(row):
        fields = [by_hand.vector(model, x, row, feature) for feature in model.features]
        products = [v * w for v, w in combinations(fields, 2)]
        hidden = [(state["attention_liner.weight"] @ product + state["attention_liner.bias"]).clamp(min=0) for product in products]
        scores = torch.stack([h @ state["h"][:, 0] for h in hidden]).exp()
        pooled = sum(score / scores.sum() * product for score, product in zip(scores, products, strict=True))
        if linear == "embedding":
            first = linear_part(model.linear.fc, torch.cat(fields))
        else:
            first = model.linear({name: column[row : row + 1] for name, column in x.items()})[0]
        return first + state["p"][:, 0] @ pooled

    compare(model, x, formula)


def test_afm_attention_is_trained_and_weights_pairs_unequally():
    """Each part of the attention network gets a gradient; with scores of zero the products are averaged."""
    model, x = by_hand.model_in_double("AFM"), by_hand.rows()
    model.logits(x).sum().backward()
    assert all(parameter.grad.abs().max() > 1e-3 for parameter in (model.h, model.attention_liner.weight, model.attention_liner.bias))
    with torch.no_grad():
        model.h.zero_()
    fields = model.embedding(x, model.features)
    average = sum(fields[:, i] * fields[:, j] for i, j in combinations(range(3), 2)) / 3
    torch.testing.assert_close(model.logits(x), (model.linear(fields.flatten(1)) + average @ model.p).squeeze(1))


def test_afm_does_not_depend_on_the_order_of_fields():
    """Without the linear part a permutation of the fields changes nothing."""
    x, models = by_hand.rows(), []
    for order in ([0, 1, 2], [2, 0, 1]):
        features = [zoo.RECIPES["AFM"].arguments["fm_features"][i] for i in order]
        model = AFM(features, 4, t=3).double().eval()
        torch.nn.init.zeros_(model.linear.fc.weight)
        models.append(model)
    weights = {key: value for key, value in models[0].state_dict().items() if not key.startswith("linear")}
    models[1].load_state_dict(dict(weights), strict=False)
    torch.nn.init.constant_(models[1].linear.fc.bias, models[0].linear.fc.bias.item())
    torch.testing.assert_close(models[0].logits(x), models[1].logits(x))


@pytest.mark.parametrize("bilinear_type", ["field_all", "field_each", "field_interaction"])
@pytest.mark.parametrize("linear", [None, "id"])
def test_fibinet_is_its_formula(bilinear_type, linear):
    """A network reads the bilinear products of the fields, of the fields scaled by their importance, and the dense columns."""
    model = by_hand.model_in_double("FiBiNet", bilinear_type=bilinear_type, linear=linear)
    x, state = by_hand.rows(), model.state_dict()

    def bilinear(fields):
        products = []
        for p, (i, j) in enumerate(combinations(range(3), 2)):
            key = {"field_all": "", "field_each": f".{i}", "field_interaction": f".{p}"}[bilinear_type]
            products.append((state[f"bilinear_interaction.bilinear_layer{key}.weight"] @ fields[i]) * fields[j])
        return torch.cat(products)

    def formula(row):
        fields = [by_hand.vector(model, x, row, feature) for feature in (zoo.USER, zoo.ITEM, zoo.TAGS)]
        means = torch.stack([field.mean() for field in fields])
        hidden = (state["senet_layer.mlp.0.weight"] @ means).clamp(min=0)
        importance = (state["senet_layer.mlp.2.weight"] @ hidden).clamp(min=0)
        scaled = [weight * field for weight, field in zip(importance, fields, strict=True)]
        dense = torch.cat([x["age"][row : row + 1], x["taste"][row]])
        deep = by_hand.network(model.mlp, torch.cat([bilinear(fields), bilinear(scaled), dense]))
        return deep if linear is None else deep + model.linear({name: column[row : row + 1] for name, column in x.items()})[0]

    compare(model, x, formula)


def test_fibinet_dense_columns_count():
    """Another value of a dense column changes the prediction, wherever the column stands in the list."""
    x, _ = zoo.tensors(6)
    for features in ([zoo.AGE, zoo.USER, zoo.ITEM], [zoo.USER, zoo.ITEM, zoo.AGE]):
        model = FiBiNet(features, {"dims": []}).eval()
        assert (model(x) != model({**x, "age": x["age"] + 1})).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"dense_features": None}, {"mlp_params": None}, {"dense_features": [zoo.AGE]}, {"attention_dim": 6, "scale": False}],
)
def test_autoint_is_its_formula(options):
    """Heads attend over all fields in each layer; the last one, a linear part and a network of the fields are summed."""
    model, x = by_hand.model_in_double("AutoInt", **options), by_hand.rows()
    state = model.state_dict()

    def attend(prefix, fields, n_head, scale):
        q, k, v = ([state[f"{prefix}.W_{name}.weight"] @ field for field in fields] for name in "QKV")
        size = len(q[0]) // n_head
        heads = [slice(h * size, (h + 1) * size) for h in range(n_head)]
        outputs = []
        for m in range(len(fields)):
            parts = []
            for head in heads:
                scores = torch.stack([q[m][head] @ key[head] / (size**0.5 if scale else 1.0) for key in k]).exp()
                parts.append(sum(score / scores.sum() * value[head] for score, value in zip(scores, v, strict=True)))
            outputs.append((torch.cat(parts) + state[f"{prefix}.W_Res.weight"] @ fields[m]).clamp(min=0))
        return outputs

    def formula(row):
        fields = [by_hand.vector(model, x, row, feature, "sparse_embedding") for feature in model.sparse_features]
        for feature in model.dense_features:
            fields.append(state[f"dense_embeddings.{feature.name}.weight"] @ x[feature.name][row].reshape(-1))
        attended = fields
        for layer in range(2):
            attended = attend(f"interacting_layers.{layer}", attended, 2, options.get("scale", True))
        flat = torch.cat(fields)
        total = linear_part(model.attn_linear, torch.cat(attended)) + linear_part(model.linear.fc, flat)
        return total if model.mlp is None else total + by_hand.network(model.mlp, flat)

    compare(model, x, formula)


def test_autoint_calls_layers_of_dense_columns_that_have_hooks():
    """The fused product gives what the calls of the layers give."""
    model, (x, _) = zoo.model("AutoInt", dense_features=[zoo.AGE, DenseFeature("price")]).eval(), zoo.tensors(5)
    x["price"] = torch.randn(5)
    expected, calls = model(x), []
    model.dense_embeddings["age"].register_forward_hook(lambda *args: calls.append(args))
    torch.testing.assert_close(model(x), expected)
    assert calls


@pytest.mark.parametrize("regulation", [True, False])
@pytest.mark.parametrize("bridge", BRIDGES)
def test_edcn_is_its_formula(bridge, regulation):
    """Behind each layer the bridge combines both networks, and the softmax over the fields weights it for each of them."""
    model = by_hand.model_in_double("EDCN", bridge_type=bridge, use_regulation_module=regulation)
    x, state = by_hand.rows(), model.state_dict()
    widths = [4, 4, 4, 1, 2]  # the embedded fields, then the dense ones

    def regulated(name, columns):
        if not regulation:
            return columns
        weights = (state[name] / 2).exp() / (state[name] / 2).exp().sum()
        return torch.cat([weight * part for weight, part in zip(weights, columns.split(widths), strict=True)])

    def attention(prefix, v):
        hidden = (state[f"{prefix}.0.weight"] @ v + state[f"{prefix}.0.bias"]).clamp(min=0)
        return (state[f"{prefix}.2.weight"] @ hidden).softmax(dim=0) * v

    def combined(layer, v, h):
        prefix = f"bridge_modules.{layer}"
        if bridge == "concatenation":
            both = torch.cat([v, h])
            return (state[f"{prefix}.concat_pooling.0.weight"] @ both + state[f"{prefix}.concat_pooling.0.bias"]).clamp(min=0)
        if bridge == "attention_pooling":
            return attention(f"{prefix}.attention_x", v) + attention(f"{prefix}.attention_h", h)
        return v * h if bridge == "hadamard_product" else v + h

    def formula(row):
        shared, first = by_hand.flat(model, x, row, model.features), None
        for layer in range(2):
            cross, deep = (regulated(f"regulation_modules.{layer}.g{i}", shared) for i in (1, 2))
            first = cross if first is None else first
            cross = first * (state[f"cross_layers.{layer}.w.weight"][0] @ cross) + state[f"cross_layers.{layer}.b"] + cross
            deep = by_hand.network(model.mlps[layer], deep)
            shared = combined(layer, cross, deep)
        return linear_part(model.linear.fc, torch.cat([cross, deep, shared]))

    compare(model, x, formula)


def test_edcn_ignores_dims_aloud(caplog):
    """Widths of hidden layers are those of the input; a warning says that given ones are not used, and the dict is not changed."""
    params = {"dims": [7], "dropout": 0.1}
    model = zoo.model("EDCN", mlp_params=params)
    assert "mlp_params['dims']=[7] is not used" in caplog.text
    assert params == {"dims": [7], "dropout": 0.1}
    assert [layer.out_features for layer in model.mlps[0].mlp if isinstance(layer, torch.nn.Linear)] == [15, 15]


def test_regulation_weights_sum_to_one_and_norm_follows():
    """The weights of the fields sum to 1 for each network, equal ones for a large tau; with norm each result has mean 0 and deviation 1."""
    x = torch.randn(50, 4)
    module = RegulationModule(2, [1, 3], tau=0.5)
    torch.nn.init.normal_(module.g1)
    first, second = (result.detach() for result in module(torch.ones(1, 4)))
    assert (first[0, 0] + first[0, 1]).item() == pytest.approx(1)
    assert first[0, 1] == first[0, 2] == first[0, 3] != second[0, 1]
    for result in RegulationModule(2, [1, 3], tau=1, norm="batch")(x):
        torch.testing.assert_close(result.std(dim=0, unbiased=False), torch.ones(4), rtol=1e-3, atol=1e-3)
    assert list(RegulationModule(2, [1, 3], tau=1, use_regulation=False).parameters()) == []


@pytest.mark.parametrize("name", ["DeepFFM", "FatDeepFFM"])
def test_deepffm_is_its_formula(name):
    """Row id * F + j is the embedding for field j; products of both embeddings of a pair, weighted or not, are the network's input."""
    model, x = by_hand.model_in_double(name), by_hand.rows(name=name)
    state = model.state_dict()

    def formula(row):
        def of(field, other):
            feature = model.cross_features[field]
            return state[f"ffm_embedding.embed_dict.{feature.name}.weight"][x[feature.name][row] * 3 + other]

        products = torch.stack([of(i, j) * of(j, i) for i, j in combinations(range(3), 2)])
        if name == "FatDeepFFM":
            descriptors = (state["cen.u"] * products).sum(dim=1).clamp(min=0)
            products = by_hand.network(model.cen.mlp_att, descriptors).unsqueeze(1) * products
        first = sum(state[f"linear_embedding.embed_dict.{key}.weight"][x[key][row], 0] for key in ("user", "item"))
        first = first + state["linear_dense.weight"][0, 0] * x["age"][row]
        return first + by_hand.network(model.mlp_out, products.flatten()) + state["b"]

    compare(model, x, formula)


@pytest.mark.parametrize("name", ["DeepFFM", "FatDeepFFM"])
def test_deepffm_reads_weights_without_those_of_dense_columns(name):
    """Weights of the existing package have none for dense columns, which count as they are; the given weights are not changed."""
    model, (x, _) = zoo.model(name).eval(), zoo.tensors(5, name=name)
    torch.nn.init.constant_(model.linear_dense.weight, 3.0)
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("linear_dense")}
    before = set(weights)
    model.load_state_dict(weights, strict=True)
    assert set(weights) == before
    changed = model.logits({**x, "age": x["age"] + 1}) - model.logits(x)
    torch.testing.assert_close(changed, torch.ones(5))


SENTENCE = "the number of ids times the number of cross features, 2"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AFM([zoo.USER], 4), "AFM: fm_features must hold at least 2"),
        (lambda: AFM([zoo.USER, zoo.AGE], 4), "AFM reads no dense features"),
        (lambda: AFM([zoo.USER, zoo.ITEM], 8), "AFM: embed_dim must be that of fm_features, 4; got 8"),
        (lambda: AFM([zoo.USER, zoo.ITEM], 4, t=0), "AFM: t must be an integer >= 1; got 0"),
        (lambda: AFM([zoo.USER, zoo.ITEM], 4, linear="ids"), "AFM: linear must be"),
        (lambda: FiBiNet([zoo.USER, zoo.AGE], {}), "FiBiNet: features must hold at least 2"),
        (lambda: FiBiNet([zoo.USER, SparseFeature("wide", 5, 8)], {}), "must have one embed_dim"),
        (lambda: FiBiNet([zoo.USER, zoo.ITEM], {}, linear=True), "FiBiNet: linear must be 'id' or None"),
        (lambda: AutoInt([], None), "AutoInt: sparse_features must hold at least one"),
        (lambda: AutoInt([zoo.AGE], None), "Move it to dense_features"),
        (lambda: AutoInt([zoo.USER], [zoo.ITEM]), "Move it to sparse_features"),
        (lambda: AutoInt([zoo.USER], None, num_heads=3), "num_heads must divide embed_dim=4"),
        (lambda: AutoInt([zoo.USER], None, num_layers=0), "AutoInt: num_layers must be an integer >= 1"),
        (lambda: EDCN([zoo.USER], 0, {}), "EDCN: n_cross_layers must be an integer >= 1"),
        (lambda: EDCN([zoo.USER], 1, {}, "hadamard"), "EDCN: bridge_type must be 'hadamard_product'"),
        (lambda: EDCN([zoo.USER], 1, {}, temperature=0), "tau must be a number > 0; got 0"),
        (lambda: RegulationModule(3, [1, 2], 1), "dims must have the width of each of num_fields=3"),
        (lambda: BridgeModule(3, "sum"), "BridgeModule: bridge_type must be"),
        (lambda: DeepFFM([zoo.USER], [zoo.USER], 4, {}), "DeepFFM: cross_features must hold at least 2"),
        (lambda: DeepFFM([zoo.USER], [zoo.USER, zoo.ITEM], 8, {}), "DeepFFM: cross_features must have embed_dim=8"),
        (lambda: FatDeepFFM([zoo.USER], [zoo.USER, SparseFeature("a", 5, 4)], 4, 1, {}), f"FatDeepFFM: vocab_size .* must be {SENTENCE}"),
        (lambda: DeepFFM([zoo.USER], [zoo.USER, zoo.TAGS], 4, {}), "DeepFFM: cross_features must be sparse features"),
    ],
)
def test_wrong_arguments_are_refused(make, said):
    """An argument that cannot be used is an error at construction, which names it."""
    with pytest.raises(ValueError, match=said):
        make()
