"""The newest models: two streams, gates, masks and products."""

from recipes.columns import AGE, ITEM, TAGS, TASTE, USER
from recipes.recipe import Recipe
from torch_rechub.models import ranking

FEATURES = [USER, ITEM, TAGS, AGE, TASTE]
FEWER = [USER, ITEM, AGE]
NETWORK = {"dims": [8], "dropout": 0.2}

RECIPES = {
    "FinalMLP": Recipe(
        ranking.FinalMLP,
        {"features": FEATURES, "mlp1_params": NETWORK, "mlp2_params": {"dims": [4]}, "fs1_context": [USER], "num_heads": 2},
        {
            "features": FEWER,
            "mlp1_params": {"dims": [6]},
            "mlp2_params": {"dims": [6]},
            "use_fs": False,
            "fs_dims": [3],
            "fs1_context": [],
            "fs2_context": [ITEM, AGE],
            "num_heads": 1,
        },
    ),
    "GDCN": Recipe(
        ranking.GDCN,
        {"features": FEATURES, "mlp_params": NETWORK},
        {"features": FEWER, "mlp_params": {"dims": [5]}, "n_cross_layers": 1, "model_structure": "stacked"},
    ),
}
