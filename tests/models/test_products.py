"""Factorization machines and their kin equal the formulas of their papers, pair by pair."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from products_oracle import first_order, model_of, numbers, same_for_all_rows, vectors

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models import ranking

PAIRS = list(combinations(range(3), 2))


def test_lr_is_the_sum_of_a_weight_for_each_id_and_number():
    """Logits are the bias, one weight for each id, and the weights times the numbers."""
    model, x = model_of("LR")
    same_for_all_rows(model, x, lambda row: first_order(model.linear, x, row))


def test_fm_is_a_double_loop_over_pairs():
    """Logits are the first-order part and the inner products of all pairs (eq. 1)."""
    model, x = model_of("FM")

    def formula(row):
        v = vectors(model, x, row)
        return first_order(model.linear, x, row) + sum(v[i] @ v[j] for i, j in PAIRS)

    same_for_all_rows(model, x, formula)


def test_ffm_multiplies_the_embeddings_for_each_other():
    """Logits are the first-order part and, for each pair, i's embedding for j times j's embedding for i (eq. 4)."""
    model, x = model_of("FFM")

    def formula(row):
        # field -> the fields that its embeddings are for, in order
        v = [dict(zip([o for o in range(3) if o != i], w.chunk(2), strict=True)) for i, w in enumerate(vectors(model, x, row))]
        return first_order(model.linear, x, row) + sum(v[i][j] @ v[j][i] for i, j in PAIRS)

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("order", [2, 3])
def test_hofm_is_a_loop_over_all_products_of_distinct_fields(order, share):
    """Logits are the first-order part and the products of all 2, ..., ``order`` distinct fields, each order with its own embeddings."""
    model, x = model_of("HOFM", order=order, share_embeddings=share)

    def formula(row):
        total = first_order(model.linear, x, row)
        for m in range(2, order + 1):
            v = [w if share else w.chunk(order - 1)[m - 2] for w in vectors(model, x, row)]
            total = total + sum(torch.stack([v[i] for i in fields]).prod(0).sum() for fields in combinations(range(3), m))
        return total

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("linear_type", ["LW", "FeLV", "FiLV"])
def test_fwfm_weighs_each_pair(linear_type):
    """Logits are one of the three linear parts and a weight for each pair times its inner product."""
    model, x = model_of("FwFM", linear_type=linear_type)

    def formula(row):
        v = vectors(model, x, row)
        if linear_type == "LW":
            linear = first_order(model.linear, x, row)
        elif linear_type == "FiLV":
            linear = model.linear.fc.weight[0] @ torch.cat([*v, numbers(x, row)]) + model.linear.fc.bias[0]
        else:
            v, w = [both[:4] for both in v], [both[4:] for both in v]
            linear = model.bias[0] + sum(a @ b for a, b in zip(v, w, strict=True)) + model.linear.weight[0] @ numbers(x, row)
        return linear + sum(model.pairs.weight[p] * (v[i] @ v[j]) for p, (i, j) in enumerate(PAIRS))

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("kind", ["vectorized", "matrixed"])
def test_fmfm_has_a_matrix_for_each_pair(kind):
    """Logits are the first-order part and ``v_i M_ij v_j`` for each pair, with diagonal matrices or full ones."""
    model, x = model_of("FmFM", field_interaction_type=kind)

    def formula(row):
        v = vectors(model, x, row)
        matrices = [torch.diag(w) if kind == "vectorized" else w for w in model.pairs.weight]
        return first_order(model.linear, x, row) + sum(v[i] @ matrices[p] @ v[j] for p, (i, j) in enumerate(PAIRS))

    same_for_all_rows(model, x, formula)


@pytest.mark.parametrize("name", ["LR", "FM", "HOFM"])
def test_the_order_of_the_fields_does_not_matter(name):
    """The same weights for the same features in another order give the same logits."""
    model, x = model_of(name)
    other = getattr(ranking, name)(model.features[::-1] if name != "HOFM" else list(_narrow(model))[::-1]).double()
    weights = {key: value for key, value in model.state_dict().items() if "fc" not in key}
    other.load_state_dict(weights, strict=False)
    if getattr(model.linear, "fc", None) is not None:
        with torch.no_grad():
            other.linear.fc.weight.copy_(model.linear.fc.weight[:, [1, 2, 0]])  # taste, then age
    torch.testing.assert_close(other.eval().logits(x), model.logits(x))


def _narrow(model):
    """The features that a HOFM was made of."""
    from recipes.products import ALL

    return ALL["features"]


USER, ITEM = SparseFeature("user", 5, 4), SparseFeature("item", 5, 4)


@pytest.mark.parametrize("kind", [ranking.FM, ranking.FFM, ranking.HOFM, ranking.FwFM, ranking.FmFM])
@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([], "must hold at least one feature; got none"),
        ([USER, DenseFeature("age")], "must hold at least [23] SparseFeature or SequenceFeature; got 1"),
        ([USER, ITEM, SparseFeature("city", 5, 8)], "must have one embed_dim; got"),
        ([USER, ITEM, SequenceFeature("tags", 5, 4, "concat")], "got pooling='concat'"),
    ],
)
def test_products_refuse_features_without_pairs(kind, features, said):
    """Features that have no products are an error at construction that names the model and the argument."""
    with pytest.raises(ValueError, match=f"{kind.__name__}: .*features.*{said}"):
        kind(features)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ranking.LR([]), "LR: features must hold at least one feature"),
        (lambda: ranking.HOFM([USER, ITEM], order=1), "HOFM: order must be an integer >= 2; got 1"),
        (lambda: ranking.HOFM([USER, ITEM], order=3), "HOFM: features must hold at least 3 SparseFeature"),
        (lambda: ranking.FwFM([USER, ITEM], "LV"), "FwFM: linear_type must be 'LW' or 'FeLV' or 'FiLV'; got 'LV'"),
        (lambda: ranking.FmFM([USER, ITEM], "scalar"), "FmFM: field_interaction_type must be 'vectorized' or 'matrixed'; got 'scalar'"),
    ],
)
def test_products_refuse_other_arguments(make, said):
    """An argument out of range is an error that names the model, the argument and what came."""
    with pytest.raises(ValueError, match=said):
        make()


#: Model -> arguments, and the number of parameters that BARS publishes for Frappe: 5389 ids in 10 fields, embeddings of width 10.
NETWORK = {"dims": [400, 400, 400], "norm": None}
PUBLISHED = {
    "LR": ({}, 5390),
    "FM": ({}, 59280),
    "FFM": ({}, 490400),
    "HOFM": ({}, 113170),
    "FwFM": ({"linear_type": "FeLV"}, 107826),
    "FmFM": ({"field_interaction_type": "vectorized"}, 59730),
    "NFM": ({"mlp_params": NETWORK}, 384880 + 1),  # ours has a bias in both parts
    "PNN": ({"mlp_params": NETWORK}, 433491),
    "xDeepFM": ({"mlp_params": NETWORK | {"norm": "batch"}, "cin_size": [64]}, 429809 + 1),  # as above
    "AFN": ({"mlp_params": {"dims": [400], "norm": None}, "logarithmic_neurons": 1000, "dnn_params": NETWORK}, 4482205),
    "DeepIM": ({"mlp_params": NETWORK | {"norm": "batch"}, "order": 3}, 417922),
    "DLRM": ({"mlp_params": NETWORK | {"norm": "batch"}, "interaction": "cat"}, 417891),
    "SAM": ({"interaction_type": "SAM3A", "num_interaction_layers": 4, "use_residual": True}, 58791),
    "AOANet": ({"mlp_params": NETWORK | {"norm": "batch"}, "num_interaction_layers": 1, "num_subspaces": 2}, 418331),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_have_as_many_parameters_as_the_benchmark_publishes(name):
    """With the benchmark's settings a model has the number of parameters that BARS publishes for Frappe."""
    arguments, n_published = PUBLISHED[name]
    fields = [SparseFeature(f"field{i}", 539 - (i == 0), 10) for i in range(10)]
    model = getattr(ranking, name)(fields, **arguments)
    assert sum(parameter.numel() for parameter in model.parameters()) == n_published
