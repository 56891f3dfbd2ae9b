"""Factorization machines and networks beside them."""

from recipes.columns import AGE, ITEM, TAGS, TASTE, USER
from recipes.recipe import Recipe
from torch_rechub.models import ranking

RECIPES = {
    "DeepFM": Recipe(
        ranking.DeepFM,
        {"deep_features": [USER, ITEM, TAGS, AGE, TASTE], "fm_features": [USER, ITEM, TAGS], "mlp_params": {"dims": [8], "dropout": 0.2}},
        {"deep_features": [USER, ITEM, AGE], "fm_features": [USER, ITEM], "mlp_params": {"dims": [5]}},
    ),
}
