"""Models of products of fields."""

from dataclasses import replace

from recipes.columns import AGE, ITEM, TAGS, TASTE, USER
from recipes.recipe import Recipe
from torch_rechub.basic.initializers import RandomNormal
from torch_rechub.models import ranking

#: Embeddings that are large enough for products of three to be seen.
FIELDS = [replace(feature, initializer=RandomNormal(0, 0.3)) for feature in (USER, ITEM, TAGS)]
ALL = {"features": [*FIELDS, AGE, TASTE]}
FEWER = {"features": [*FIELDS, AGE]}

RECIPES = {
    "LR": Recipe(ranking.LR, ALL, FEWER),
    "FM": Recipe(ranking.FM, ALL, FEWER),
    "FFM": Recipe(ranking.FFM, ALL, FEWER),
    "HOFM": Recipe(ranking.HOFM, ALL, {**FEWER, "order": 2, "share_embeddings": True}),
    "FwFM": Recipe(ranking.FwFM, {**ALL, "linear_type": "FeLV"}, {**FEWER, "linear_type": "LW"}),
    "FmFM": Recipe(ranking.FmFM, ALL, {**FEWER, "field_interaction_type": "vectorized"}),
}
