"""Models of products of fields."""

from dataclasses import replace

from recipes.columns import AGE, ITEM, TAGS, TASTE, USER
from recipes.recipe import Recipe
from torch_rechub.basic.initializers import RandomNormal
from torch_rechub.models import ranking

#: Embeddings that are large enough for products of three to be seen.
FIELDS = [replace(feature, initializer=RandomNormal(0, 0.3)) for feature in (USER, ITEM, TAGS)]
NETWORK = {"mlp_params": {"dims": [8], "dropout": 0.2}}
OTHER_NETWORK = {"mlp_params": {"dims": [5]}}
ALL = {"features": [*FIELDS, AGE, TASTE]}
FEWER = {"features": [*FIELDS, AGE]}

RECIPES = {
    "LR": Recipe(ranking.LR, ALL, FEWER),
    "FM": Recipe(ranking.FM, ALL, FEWER),
    "FFM": Recipe(ranking.FFM, ALL, FEWER),
    "HOFM": Recipe(ranking.HOFM, ALL, {**FEWER, "order": 2, "share_embeddings": True}),
    "FwFM": Recipe(ranking.FwFM, {**ALL, "linear_type": "FeLV"}, {**FEWER, "linear_type": "LW"}),
    "FmFM": Recipe(ranking.FmFM, ALL, {**FEWER, "field_interaction_type": "vectorized"}),
    "DNN": Recipe(ranking.DNN, ALL | NETWORK, FEWER | OTHER_NETWORK),
    "NFM": Recipe(ranking.NFM, ALL | NETWORK, {**FEWER, **OTHER_NETWORK, "pooling_dropout": 0.5}),
    "PNN": Recipe(ranking.PNN, ALL | NETWORK, {**FEWER, **OTHER_NETWORK, "product": "outer"}),
    "ONN": Recipe(ranking.ONN, ALL | NETWORK, FEWER | OTHER_NETWORK),
    "DLRM": Recipe(
        ranking.DLRM,
        {**ALL, **NETWORK, "bottom_mlp_params": {"dims": [6]}},
        {**FEWER, **OTHER_NETWORK, "bottom_mlp_params": {"dims": [7]}, "interaction": "cat"},
    ),
    "xDeepFM": Recipe(
        ranking.xDeepFM, {**ALL, **NETWORK, "cin_size": [4, 3]}, {**FEWER, "mlp_params": None, "cin_size": [4], "split_half": True}
    ),
    "AFN": Recipe(
        ranking.AFN,
        {**ALL, **NETWORK, "logarithmic_neurons": 6, "dnn_params": {"dims": [8]}},
        {**FEWER, **OTHER_NETWORK, "logarithmic_neurons": 5, "dnn_params": None},
    ),
    "DeepIM": Recipe(ranking.DeepIM, {**ALL, **NETWORK, "order": 3}, {**FEWER, **OTHER_NETWORK, "order": 2, "batch_norm": True}),
    "AOANet": Recipe(
        ranking.AOANet,
        {**ALL, **NETWORK, "num_interaction_layers": 2, "num_subspaces": 3},
        {**FEWER, **OTHER_NETWORK, "num_interaction_layers": 1, "num_subspaces": 2},
    ),
    "SAM": Recipe(
        ranking.SAM,
        {**ALL, "interaction_type": "SAM3A", "num_interaction_layers": 2, "use_residual": True},
        {
            **FEWER,
            "interaction_type": "SAM3E",
            "aggregation": "mean",
            "num_interaction_layers": 1,
            "use_residual": False,
            "interaction_dropout": 0.5,
        },
    ),
}
