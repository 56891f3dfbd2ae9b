"""Networks of products of fields equal the formulas of their papers, row by row and pair by pair."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
import zoo
from products_oracle import first_order, model_of, numbers, same_for_all_rows, vectors

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models import ranking

PAIRS = list(combinations(range(3), 2))
LAYER = {"mlp_params": {"dims": [8]}}


def test_dnn_is_a_network_of_all_columns():
    """Logits are the network's output for the embeddings and the numbers side by side."""
    model, x = model_of("DNN")
    same_for_all_rows(model, x, lambda row: model.mlp(torch.cat([*vectors(model, x, row), numbers(x, row)])[None]))


def test_nfm_feeds_the_sum_of_all_products_to_its_network():
    """Logits are the first-order part and the network of the numbers and of the products of all pairs (eq. 2 to 4)."""
    model, x = model_of("NFM")

    def formula(row):
        v = vectors(model, x, row)
        pooled = sum(v[i] * v[j] for i, j in PAIRS)
        return first_order(model.linear, x, row) + model.mlp(torch.cat([numbers(x, row), pooled])[None]).squeeze()

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("product", ["inner", "outer"])
def test_pnn_feeds_products_beside_the_embeddings(product):
    """The network reads the columns and the inner products of all pairs, or the sum of the outer products of all pairs of vectors."""
    model, x = model_of("PNN", product=product)

    def formula(row):
        v = vectors(model, x, row)
        inner = torch.stack([v[i] @ v[j] for i, j in PAIRS])
        products = inner if product == "inner" else sum(torch.outer(a, b) for a in v for b in v).flatten()
        return model.mlp(torch.cat([*v, numbers(x, row), products])[None])

    same_for_all_rows(model, x, formula)


def test_onn_has_an_embedding_for_each_operation():
    """The network reads the numbers, each field's copy, and i's embedding for j times j's embedding for i."""
    model, x = model_of("ONN")

    def formula(row):
        parts = [w.split(4) for w in vectors(model, x, row)]
        v = [dict(zip([o for o in range(3) if o != i], part[1:], strict=True)) for i, part in enumerate(parts)]
        products = torch.stack([v[i][j] @ v[j][i] for i, j in PAIRS])
        return model.mlp(torch.cat([numbers(x, row), *(part[0] for part in parts), products])[None])

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("interaction", ["dot", "cat"])
def test_dlrm_pairs_the_embeddings_and_the_bottom_network(interaction):
    """The top network reads the bottom's output and all inner products of vectors, or the vectors themselves."""
    model, x = model_of("DLRM", interaction=interaction)

    def formula(row):
        v = [*vectors(model, x, row), model.bottom(numbers(x, row)[None])[0]]
        products = torch.stack([v[i] @ v[j] for i, j in combinations(range(4), 2)])
        return model.mlp(torch.cat([v[3], products] if interaction == "dot" else v)[None])

    same_for_all_rows(model, x, formula)


def test_dlrm_without_numbers_has_no_bottom_network():
    """Without dense columns the top network reads the products of the embeddings."""
    user, item = SparseFeature("user", 12, 4), SparseFeature("item", 20, 4)
    model, (x, _) = ranking.DLRM([user, item], {"dims": [8]}).eval(), zoo.tensors(9)
    weights = [model.embedding.embed_dict[name].weight[x[name]] for name in ("user", "item")]
    assert model.bottom is None
    torch.testing.assert_close(model.logits(x), model.mlp((weights[0] * weights[1]).sum(1, keepdim=True)).squeeze(1))


@pytest.mark.parametrize(("split_half", "network"), [(False, LAYER["mlp_params"]), (True, None)])
def test_xdeepfm_is_the_sum_of_three_parts(split_half, network):
    """Logits are the first-order part, the feature maps of all layers summed over D (eq. 6 and 8), and the network."""
    model, x = model_of("xDeepFM", split_half=split_half, mlp_params=network)

    def formula(row):
        v = vectors(model, x, row)
        hidden, sums = v, []
        for k, layer in enumerate(model.cin.conv_layers):
            pairs = [a * b for a in v for b in hidden]
            maps = [
                sum(w * pair for w, pair in zip(weight[:, 0], pairs, strict=True)) + bias
                for weight, bias in zip(*layer.parameters(), strict=True)
            ]
            out, hidden = (maps[:2], maps[2:]) if split_half and k == 0 else (maps, maps)
            sums += [one.sum() for one in out]
        deep = model.mlp(torch.cat([*v, numbers(x, row)])[None]).squeeze() if network else 0
        return first_order(model.linear, x, row) + model.cin.fc(torch.stack(sums))[0] + deep

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("beside", [None, {"dims": [8]}])
def test_afn_is_a_network_of_products_of_powers(beside):
    """Each neuron is the product of |v_i| to the power w_ij, both batch-normalised; AFN+ weighs it with a network of other embeddings."""
    model, x = model_of("AFN", dnn_params=beside)
    log_norm, exp_norm = model.logarithmic.log_norm, model.logarithmic.exp_norm
    exponents = model.logarithmic.exponents.weight

    def normal(norm, values):
        return (values - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias

    def formula(row):
        entries = torch.stack(vectors(model, x, row), dim=1)  # (D, F)
        products = [
            normal(exp_norm, torch.stack([(w * normal(log_norm, e.abs().clamp(min=1e-5).log())).sum().exp() for w in exponents]))
            for e in entries
        ]
        out = model.mlp(torch.cat([numbers(x, row), *products])[None])
        if beside is None:
            return out
        other = model.dnn(torch.cat([*vectors(model, x, row, "dnn_embedding"), numbers(x, row)])[None])
        return model.fc.weight[0, 0] * out + model.fc.weight[0, 1] * other + model.fc.bias

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("network", [LAYER["mlp_params"], None])
def test_deepim_weighs_the_products_of_each_order(network):
    """Logits are weights of the sums of products of 1, 2 and 3 distinct fields, and the network."""
    changes = {} if network else {"features": zoo.RECIPES["DeepIM"].arguments["features"][:3]}
    model, x = model_of("DeepIM", mlp_params=network, **changes)

    def formula(row):
        v = torch.stack(vectors(model, x, row))
        orders = [sum(v[list(fields)].prod(0) for fields in combinations(range(3), m)) for m in (1, 2, 3)]
        deep = model.mlp(torch.cat([v.flatten(), numbers(x, row)])[None]).squeeze() if network else 0
        return model.linear(torch.cat(orders))[0] + deep

    same_for_all_rows(model, x, formula)


def test_aoanet_adds_weighted_outer_products():
    """Each subspace is the sum of weighted outer products, times its operation entry by entry, times its projection."""
    model, x = model_of("AOANet")

    def formula(row):
        v = vectors(model, x, row)
        z = v
        for layer in model.interactions:
            outer = [sum(a[f, i] * torch.outer(v[f], z[i]) for f in range(3) for i in range(len(z))) for a in layer.pairs]
            z = [(w * o) @ h[0] for w, o, h in zip(layer.operation, outer, layer.projection, strict=True)]
        return model.fc(torch.cat([model.mlp(torch.cat([*v, numbers(x, row)])[None])[0], *z]))

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("aggregation", ["concat", "mean", "sum"])
@pytest.mark.parametrize("kind", ["SAM2A", "SAM2E", "SAM3A", "SAM3E"])
def test_sam_attends_without_a_softmax(kind, aggregation):
    """Each pair has a score and a vector, learned (A) or the product of its fields (E); SAM3 adds them up for each field, in layers."""
    if kind.startswith("SAM2") and aggregation != "concat":
        with pytest.raises(ValueError, match=f"SAM: aggregation of {kind} must be 'concat'"):
            zoo.model("SAM", interaction_type=kind, aggregation=aggregation)
        return
    model, x = model_of("SAM", interaction_type=kind, aggregation=aggregation)

    def attended(layer, v):
        def value(i, j):
            return v[i] * v[j] if layer.weight is None else layer.weight[i, j]

        if kind.startswith("SAM2"):
            return torch.stack([(v[i] @ v[j]) * value(i, j) for i in range(3) for j in range(3)])
        key, query = layer.key.weight, layer.query.weight
        return torch.stack([sum((v[i] @ (key @ v[j])) * value(i, j) for j in range(3)) + query @ v[i] for i in range(3)])

    def formula(row):
        v = torch.stack(vectors(model, x, row))
        for layer in model.layers:
            v = attended(layer, v)
        one = {"concat": v.flatten(), "mean": v.mean(0), "sum": v.sum(0)}[aggregation]
        return model.fc(torch.cat([numbers(x, row), one]))

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("name", ["NFM", "PNN", "ONN", "DLRM", "AFN", "SAM"])
def test_products_are_the_same_where_the_embedding_layer_is_called(name):
    """A hook on the embedding layer, which has it called for each part, changes no logit."""
    model, x = model_of(name)
    expected = model.logits(x)
    called = []
    model.embedding.register_forward_hook(lambda module, args, output: called.append(output.shape))
    torch.testing.assert_close(model.logits(x), expected)
    assert called


USER, ITEM, AGE = SparseFeature("user", 5, 4), SparseFeature("item", 5, 4), DenseFeature("age")


@pytest.mark.parametrize("name", ["NFM", "PNN", "ONN", "xDeepFM", "AFN", "AOANet", "DLRM", "DeepIM"])
@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([], "must hold at least one feature; got none"),
        ([USER, ITEM, SparseFeature("city", 5, 8)], "must have one embed_dim; got"),
        ([USER, ITEM, SequenceFeature("tags", 5, 4, "concat")], "got pooling='concat'"),
    ],
)
def test_networks_of_products_refuse_features_without_pairs(name, features, said):
    """Features that have no products are an error at construction that names the model and the argument."""
    with pytest.raises(ValueError, match=f"{name}: .*features.*{said}"):
        getattr(ranking, name)(features, **LAYER)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ranking.DNN([], **LAYER), "DNN: features must hold at least one feature"),
        (lambda: ranking.NFM([USER, ITEM], **LAYER, pooling_dropout=1), "NFM: pooling_dropout must be >= 0 and < 1; got 1"),
        (lambda: ranking.PNN([USER, AGE], **LAYER), "PNN: features must hold at least 2 SparseFeature"),
        (lambda: ranking.PNN([USER, ITEM], **LAYER, product="both"), "PNN: product must be 'inner' or 'outer'; got 'both'"),
        (lambda: ranking.DLRM([USER], **LAYER), "DLRM: features must hold at least 2 SparseFeature"),
        (lambda: ranking.DLRM([USER, ITEM], **LAYER, interaction="sum"), "DLRM: interaction must be 'dot' or 'cat'; got 'sum'"),
        (lambda: ranking.xDeepFM([USER, ITEM], None, cin_size=[]), "CIN: cin_size must have at least one size"),
        (lambda: ranking.AFN([USER, ITEM], **LAYER, logarithmic_neurons=0), "AFN: logarithmic_neurons must be an integer >= 1; got 0"),
        (lambda: ranking.DeepIM([USER, ITEM, AGE], None), "DeepIM: dense features need a network"),
        (lambda: ranking.DeepIM([USER, ITEM], **LAYER, order=3), "DeepIM: features must hold at least 3 SparseFeature"),
        (lambda: ranking.AOANet([USER, ITEM], **LAYER, num_subspaces=0), "AOANet: num_subspaces must be an integer >= 1; got 0"),
        (lambda: ranking.SAM([USER, ITEM], "SAM1"), "SAM: interaction_type must be 'SAM2A' or 'SAM2E' or .* got 'SAM1'"),
        (lambda: ranking.SAM([USER, ITEM], interaction_dropout=-0.1), "SAM: interaction_dropout must be >= 0 and < 1; got -0.1"),
    ],
)
def test_networks_of_products_refuse_other_arguments(make, said):
    """An argument out of range is an error that names the model, the argument and what came."""
    with pytest.raises(ValueError, match=said):
        make()
