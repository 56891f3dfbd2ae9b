"""Models that read the history of a user."""

from functools import partial

import numpy as np

from recipes.columns import AGE, USER
from recipes.recipe import Recipe
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.basic.initializers import RandomNormal
from torch_rechub.models import ranking

ITEM, CATEGORY = SparseFeature("item", 20, 4, padding_idx=0), SparseFeature("category", 6, 2, padding_idx=0)
ITEMS = SequenceFeature("items", 20, 4, "concat", shared_with="item", padding_idx=0)
CATEGORIES = SequenceFeature("categories", 6, 2, "concat", shared_with="category", padding_idx=0)
SKIPPED = SequenceFeature("skipped", 20, 4, "concat", shared_with="item", padding_idx=0)
SKIPPED_CATEGORIES = SequenceFeature("skipped_categories", 6, 2, "concat", shared_with="category", padding_idx=0)


def columns(n: int = 64, seed: int = 0, length: int = 4, n_category: int = 5) -> dict[str, np.ndarray]:
    """Histories of at most ``length`` entries whose category follows from the item, padded at the end."""
    rng = np.random.default_rng(seed)
    item, items, skipped = (rng.integers(1, 20, shape) for shape in (n, (n, length), (n, length)))
    entries = np.arange(length) < rng.integers(0, length + 1, n)[:, None]
    items, skipped = items * entries, skipped * entries
    return {
        "user": rng.integers(0, 12, n),
        "age": rng.normal(size=n).astype(np.float32),
        "item": item,
        "category": item % n_category + 1,
        "items": items,
        "categories": (items % n_category + 1) * entries,
        "skipped": skipped,
        "skipped_categories": (skipped % n_category + 1) * entries,
    }


#: A table with numbers of the size of trained ones: the sums of SDIM are divided by their norms.
WIDELY = SparseFeature("item", 20, 4, padding_idx=0, initializer=RandomNormal(0, 0.5))
LISTS = {"features": [USER, AGE], "history_features": [ITEMS, CATEGORIES], "target_features": [ITEM, CATEGORY]}
OTHER_LISTS = {"features": [USER], "history_features": [ITEMS], "target_features": [ITEM]}
MLP_PARAMS, OTHER_PARAMS = {"dims": [8], "dropout": 0.2}, {"dims": [5]}

RECIPES = {
    "DIN": Recipe(
        ranking.DIN,
        {**LISTS, "mlp_params": MLP_PARAMS, "attention_mlp_params": {"dims": [6]}},
        {"features": [USER], "history_features": [ITEMS], "target_features": [ITEM, CATEGORY, USER]}
        | {"mlp_params": OTHER_PARAMS, "attention_mlp_params": {"dims": [6], "use_softmax": True}},
        {"softmax": {"attention_mlp_params": {"dims": [6], "use_softmax": True, "activation": "sigmoid", "norm": None}}},
        columns,
    ),
    "DIEN": Recipe(
        ranking.DIEN,
        {**LISTS, "neg_history_features": [SKIPPED, SKIPPED_CATEGORIES], "mlp_params": MLP_PARAMS},
        {"features": [USER], "history_features": [SKIPPED, CATEGORIES], "target_features": [ITEM, CATEGORY, USER]}
        | {"neg_history_features": [ITEMS, SKIPPED_CATEGORIES], "mlp_params": OTHER_PARAMS, "alpha": 0.0},
        {"one history": {**OTHER_LISTS, "neg_history_features": [SKIPPED]}},
        columns,
    ),
    "BST": Recipe(
        ranking.BST,
        {**LISTS, "features": [USER, AGE, ITEM], "mlp_params": MLP_PARAMS, "nhead": 2, "max_seq_len": 8, "dim_feedforward": 8},
        {"features": [USER], "history_features": [SKIPPED, CATEGORIES], "target_features": [USER, CATEGORY], "mlp_params": OTHER_PARAMS}
        | {"nhead": 3, "dropout": 0.5, "num_layers": 2, "max_seq_len": 9, "positions": "from_target", "dim_feedforward": 4},
        {"two layers": {**OTHER_LISTS, "num_layers": 2, "positions": "from_target", "mlp_params": {"dims": [8], "norm": None}}},
        columns,
    ),
    "SIM": Recipe(
        ranking.SIM,
        {**LISTS, "features": [USER, AGE, ITEM], "mlp_params": MLP_PARAMS, "search_feature": "categories", "n_retrieved": 3, "n_recent": 2},
        {"features": [USER], "history_features": [SKIPPED, CATEGORIES], "target_features": [USER, CATEGORY], "mlp_params": OTHER_PARAMS}
        | {"search_feature": "items", "n_retrieved": 1, "n_recent": 1, "num_heads": 1},
        {},
        partial(columns, length=6, n_category=2),
    ),
    "SDIM": Recipe(
        ranking.SDIM,
        {**LISTS, "features": [USER, AGE, WIDELY], "target_features": [WIDELY, CATEGORY], "mlp_params": MLP_PARAMS, "n_hash": 6}
        | {"hash_bits": 2},
        {"features": [USER], "history_features": [SKIPPED, CATEGORIES], "target_features": [USER, CATEGORY], "mlp_params": OTHER_PARAMS}
        | {"n_hash": 8, "hash_bits": 3},
        {},
        columns,
    ),
}
