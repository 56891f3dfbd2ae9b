"""The models of the existing package without histories."""

from dataclasses import replace

import numpy as np

from recipes.columns import AGE, ITEM, TAGS, TASTE, USER, columns
from recipes.recipe import Recipe
from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.initializers import RandomNormal
from torch_rechub.models import ranking

MIXED = [USER, AGE, ITEM, TAGS, TASTE]  #: dense columns between the others
MLP_PARAMS = {"dims": [8], "dropout": 0.2}
BRIDGES = ("pointwise_addition", "concatenation", "attention_pooling")

#: Fields whose products are large enough to be seen beside a linear part.
LARGE = [replace(feature, initializer=RandomNormal(0, 0.5)) for feature in (USER, ITEM, TAGS)]
#: Field-aware models have a weight for each id, and an embedding for each id and field.
FIRST = [SparseFeature("user", 12, 1), SparseFeature("item", 20, 1), AGE]
CROSS = [SparseFeature("user", 36, 4), SparseFeature("item", 60, 4), SparseFeature("tag", 18, 4)]


def with_tag(n: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    x = columns(n, seed)
    return {**x, "tag": x["tags"][:, 0]}


def narrow(features: list[SparseFeature], width: int) -> list[SparseFeature]:
    return [replace(feature, embed_dim=width) for feature in features]


FIELD_AWARE = {"linear_features": FIRST, "cross_features": CROSS, "embed_dim": 4, "mlp_params": MLP_PARAMS}
OTHERS = {"linear_features": FIRST[:2], "cross_features": CROSS[::-1], "embed_dim": 3, "mlp_params": {"dims": [5]}}
TOGETHER = {"embed_dim": {"cross_features": narrow(CROSS, 3)}}

RECIPES = {
    "WideDeep": Recipe(
        ranking.WideDeep,
        {"wide_features": [USER, ITEM, AGE], "deep_features": MIXED, "mlp_params": MLP_PARAMS},
        {"wide_features": [USER, ITEM], "deep_features": [USER, ITEM], "mlp_params": {"dims": [5]}, "linear": "id"},
        {"linear by id": {"linear": "id"}},
    ),
    "DCN": Recipe(
        ranking.DCN,
        {"features": MIXED, "n_cross_layers": 2, "mlp_params": MLP_PARAMS},
        {"features": [USER, ITEM, AGE], "n_cross_layers": 1, "mlp_params": None},
        {"cross network alone": {"mlp_params": None}},
    ),
    "DCNv2": Recipe(
        ranking.DCNv2,
        {"features": MIXED, "n_cross_layers": 2, "mlp_params": MLP_PARAMS, "low_rank": 3, "num_experts": 2},
        {
            "features": [USER, ITEM, AGE],
            "n_cross_layers": 1,
            "mlp_params": {"dims": [5]},
            "model_structure": "stacked",
            "use_low_rank_mixture": False,
            "low_rank": 2,
            "num_experts": 3,
        },
        {
            f"{structure}, {'mixture' if mixture else 'matrices'}": {"model_structure": structure, "use_low_rank_mixture": mixture}
            for structure in ("parallel", "stacked", "crossnet_only")
            for mixture in (True, False)
            if (structure, mixture) != ("parallel", True)  # the recipe itself
        },
    ),
    "AFM": Recipe(
        ranking.AFM,
        {"fm_features": LARGE, "embed_dim": 4, "t": 5},
        {"fm_features": LARGE[:2], "embed_dim": 3, "t": 3, "dropout": 0.5, "linear": "id"},
        {"linear by id": {"linear": "id"}},
        together={"embed_dim": {"fm_features": narrow(LARGE, 3)}},
    ),
    "AutoInt": Recipe(
        ranking.AutoInt,
        {"sparse_features": [USER, ITEM, TAGS], "dense_features": [AGE, TASTE], "num_layers": 2, "mlp_params": MLP_PARAMS},
        {
            "sparse_features": [USER, ITEM],
            "dense_features": [AGE],
            "num_layers": 1,
            "num_heads": 4,
            "dropout": 0.5,
            "mlp_params": None,
            "attention_dim": 6,
            "scale": False,
        },
        {
            "no dense columns": {"dense_features": None},
            "numbers only": {"dense_features": [AGE]},
            "no network": {"mlp_params": None},
            "as in the paper": {"mlp_params": None, "attention_dim": 6, "scale": False},
        },
    ),
    "EDCN": Recipe(
        ranking.EDCN,
        {"features": MIXED, "n_cross_layers": 2, "mlp_params": {"dropout": 0.2}, "temperature": 2},
        {
            "features": [USER, ITEM, AGE],
            "n_cross_layers": 1,
            "mlp_params": {"dropout": 0.0},
            "bridge_type": "concatenation",
            "use_regulation_module": False,
            "temperature": 1,
            "n_deep_layers": 1,
            "regulation_norm": "batch",
        },
        {
            "no regulation": {"use_regulation_module": False},
            "as in the paper": {"n_deep_layers": 1, "mlp_params": {"norm": None}},
            "as published": {"n_deep_layers": 1, "mlp_params": {"norm": None}, "regulation_norm": "batch"},
            **{bridge: {"bridge_type": bridge} for bridge in BRIDGES},
        },
    ),
    "FiBiNet": Recipe(
        ranking.FiBiNet,
        {"features": MIXED, "mlp_params": MLP_PARAMS, "reduction_ratio": 2},
        {
            "features": [USER, ITEM, AGE],
            "mlp_params": {"dims": [5]},
            "reduction_ratio": 1,
            "bilinear_type": "field_all",
            "linear": "id",
        },
        {"field_all": {"bilinear_type": "field_all"}, "field_each": {"bilinear_type": "field_each"}, "linear": {"linear": "id"}},
    ),
    "DeepFFM": Recipe(
        ranking.DeepFFM,
        FIELD_AWARE,
        OTHERS,
        {"no dense columns": {"linear_features": FIRST[:2]}},
        with_tag,
        TOGETHER,
    ),
    "FatDeepFFM": Recipe(
        ranking.FatDeepFFM,
        {**FIELD_AWARE, "reduction_ratio": 1},
        {**OTHERS, "reduction_ratio": 3},
        {"no dense columns": {"linear_features": FIRST[:2]}},
        with_tag,
        TOGETHER,
    ),
}
