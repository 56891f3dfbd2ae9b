"""The newest models: two streams, gates, masks and products."""

from recipes.columns import AGE, ITEM, TAGS, TASTE, USER
from recipes.recipe import Recipe
from torch_rechub.models import ranking

FEATURES = [USER, ITEM, TAGS, AGE, TASTE]
FEWER = [USER, ITEM, AGE]
NETWORK = {"dims": [8], "dropout": 0.2}


def branches(model_a, model_b, separate_tables=True, branch_loss=1.0):
    """Two new models at each call, which are made by two functions."""
    return ranking.Branches(model_a(), model_b(), separate_tables, branch_loss)


RECIPES = {
    "Branches": Recipe(
        branches,
        {"model_a": lambda: ranking.DeepFM(FEATURES, [USER, ITEM], NETWORK), "model_b": lambda: ranking.GDCN(FEWER, NETWORK)},
        {
            "model_a": lambda: ranking.GDCN(FEATURES, NETWORK),
            "model_b": lambda: ranking.GDCN(FEWER, {"dims": [5]}),
            "separate_tables": False,
            "branch_loss": 0.0,
        },
    ),
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
    "FinalNet": Recipe(
        ranking.FinalNet,
        {"features": FEATURES, "block1_params": {"dims": [8], "dropout": 0.2}, "block2_params": {"dims": [6, 4]}},
        {
            "features": FEWER,
            "block1_params": {"dims": [8], "residual": "sum"},
            "block2_params": None,
            "use_feature_gating": True,
        },
    ),
    "MaskNet": Recipe(
        ranking.MaskNet,
        {"features": FEATURES, "mlp_params": NETWORK, "num_blocks": 2, "block_dim": 5},
        {
            "features": FEWER,
            "mlp_params": {"dims": [5]},
            "model_type": "serial",
            "num_blocks": 1,
            "block_dim": 4,
            "reduction_ratio": 0.5,
            "emb_layernorm": False,
            "net_layernorm": False,
        },
    ),
    "DESTINE": Recipe(
        ranking.DESTINE,
        {"features": FEATURES, "mlp_params": NETWORK, "attention_dim": 6},
        {
            "features": FEWER,
            "mlp_params": None,
            "n_attention_layers": 1,
            "attention_dim": 4,
            "num_heads": 1,
            "att_dropout": 0.5,
            "residual_mode": "last_layer",
            "use_scale": False,
            "relu_before_att": True,
            "use_wide": True,
        },
    ),
    "FCN": Recipe(
        ranking.FCN,
        {"features": FEATURES, "n_exponential_layers": 2, "n_linear_layers": 2},
        {
            "features": FEWER,
            "n_exponential_layers": 1,
            "n_linear_layers": 1,
            "exponential_dropout": 0.5,
            "linear_dropout": 0.5,
            "num_heads": 2,
            "layer_norm": False,
        },
    ),
    "QNNAlpha": Recipe(
        ranking.QNNAlpha,
        {"features": FEATURES, "n_layers": 2},
        {"features": FEWER, "n_layers": 1, "num_rows": 2, "num_heads": 2, "dropout": 0.5, "norm": None, "self_ensemble": False},
    ),
    "TF4CTR": Recipe(
        ranking.TF4CTR,
        {"features": FEATURES, "easy_params": NETWORK, "hard_params": {"dims": [8, 6], "dropout": 0.2}},
        {
            "features": FEWER,
            "easy_params": {"dims": [5]},
            "hard_params": {"dims": [5]},
            "sample_selection": "experts",
            "fusion": "experts",
            "c": 0.5,
            "gamma": 1.0,
            "alpha": 0.9,
        },
    ),
    "Wukong": Recipe(
        ranking.Wukong,
        {"features": FEATURES, "mlp_params": NETWORK, "fmb_params": {"dims": [6]}, "n_layers": 2, "n_fmb": 3, "n_lcb": 2, "rank": 2},
        {
            "features": FEWER,
            "mlp_params": {"dims": [5]},
            "fmb_params": {"dims": [5]},
            "n_layers": 1,
            "n_fmb": 2,
            "n_lcb": 3,
            "rank": 1,
        },
    ),
}
