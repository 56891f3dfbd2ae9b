"""The models of the existing package without histories."""

from recipes.columns import AGE, ITEM, TAGS, TASTE, USER
from recipes.recipe import Recipe
from torch_rechub.models import ranking

MIXED = [USER, AGE, ITEM, TAGS, TASTE]  #: dense columns between the others
MLP_PARAMS = {"dims": [8], "dropout": 0.2}

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
}
