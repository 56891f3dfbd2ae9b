"""The models whose weights are exchanged, with every structure that their arguments give. This file runs in both environments.

A case makes its features anew: those of the existing package hold the weights of the models that they were given to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature

N_ROW, LENGTH, WIDTH = 16, 4, 4
SIZES = {"user": 8, "item": 6, "previous": 6, "tag": 5, "clicks": 6, "words": 5}
MLP_PARAMS = {"dims": [6], "dropout": 0.2}


class Case(NamedTuple):
    """One structure of a model.

    Args:
        model: name of the class.
        arguments: makes its arguments.
        there: arguments that are others in the existing package, which reads or drops something else.
        equal: whether both packages predict the same.
        back: whether our weights load there, strictly.
    """

    model: str
    arguments: Callable[[], dict[str, Any]]
    there: Callable[[], dict[str, Any]] = dict
    equal: bool = True
    back: bool = True


def fields() -> list[Any]:
    """Sparse features, one with padding, and sequences, one of which shares a table."""
    return [
        SparseFeature("user", SIZES["user"], WIDTH),
        SparseFeature("item", SIZES["item"], WIDTH, padding_idx=0),
        SequenceFeature("clicks", SIZES["clicks"], WIDTH, pooling="mean", shared_with="item", padding_idx=0),
        SequenceFeature("words", SIZES["words"], WIDTH, pooling="sum", padding_idx=0),
    ]


def sparse(*names: str) -> list[Any]:
    return [SparseFeature(name, SIZES[name], WIDTH) for name in names or ("user", "item", "tag")]


def numbers(*names: str) -> list[Any]:
    return [DenseFeature(name) for name in names]


def mixed() -> list[Any]:
    """Dense columns between the others."""
    user, item, clicks, words = fields()
    previous = SparseFeature("previous", SIZES["previous"], WIDTH, shared_with="item", padding_idx=0)
    return [DenseFeature("age"), user, item, DenseFeature("price"), clicks, words, previous]


def field_aware(*dense: str) -> dict[str, Any]:
    names = ("user", "item", "tag")
    return {
        "linear_features": [SparseFeature(name, SIZES[name], 1) for name in names] + numbers(*dense),
        "cross_features": [SparseFeature(name, SIZES[name] * len(names), WIDTH) for name in names],
        "embed_dim": WIDTH,
        "mlp_params": dict(MLP_PARAMS),
    }


def crossed(**options: Any) -> dict[str, Any]:
    return {"features": mixed(), "n_cross_layers": 2, "mlp_params": dict(MLP_PARAMS)} | options


def dcn_v2(structure: str, mixture: bool) -> Case:
    options = {"model_structure": structure, "use_low_rank_mixture": mixture, "low_rank": 3, "num_experts": 2}
    return Case("DCNv2", lambda: crossed(**options))


def edcn(**options: Any) -> Case:
    """The widths of hidden layers are not used, in both packages."""
    with_regulation = options.get("use_regulation_module", True)
    return Case("EDCN", lambda: crossed(**options, mlp_params={"dropout": 0.2}), equal=not with_regulation)


BRIDGES = ("hadamard_product", "pointwise_addition", "concatenation", "attention_pooling")
BILINEAR = ("field_all", "field_each", "field_interaction")
CASES: dict[str, Case] = {
    "WideDeep": Case("WideDeep", lambda: {"wide_features": mixed(), "deep_features": mixed()[:5], "mlp_params": dict(MLP_PARAMS)}),
    "DCN": Case("DCN", crossed),
    **{
        f"DCNv2 {s} {'mixture' if m else 'matrices'}": dcn_v2(s, m) for s in ("parallel", "stacked", "crossnet_only") for m in (True, False)
    },
    **{f"EDCN {bridge}": edcn(bridge_type=bridge, use_regulation_module=False) for bridge in BRIDGES},
    "EDCN regulation": edcn(temperature=2),
    "AFM": Case("AFM", lambda: {"fm_features": fields(), "embed_dim": WIDTH, "t": 5}, equal=False),
    **{
        f"FiBiNet {kind}": Case(
            "FiBiNet",
            lambda kind=kind: {"features": sparse(), "mlp_params": dict(MLP_PARAMS), "reduction_ratio": 2, "bilinear_type": kind},
        )
        for kind in BILINEAR
    },
    "FiBiNet dense": Case(
        "FiBiNet",
        lambda: {"features": sparse(), "mlp_params": dict(MLP_PARAMS), "reduction_ratio": 2},
        lambda: {"features": [*sparse(), DenseFeature("age")]},
    ),
    "AutoInt": Case(
        "AutoInt",
        lambda: {"sparse_features": fields(), "dense_features": numbers("age", "price"), "mlp_params": dict(MLP_PARAMS)},
    ),
    "AutoInt alone": Case("AutoInt", lambda: {"sparse_features": sparse(), "dense_features": None, "num_layers": 1, "num_heads": 4}),
    "DeepFFM": Case("DeepFFM", field_aware),
    "DeepFFM dense": Case("DeepFFM", lambda: field_aware("age"), back=False),
    "FatDeepFFM": Case("FatDeepFFM", lambda: {**field_aware(), "reduction_ratio": 2}),
}


def draw(seed: int) -> dict[str, torch.Tensor]:
    """Rows of columns; lists are padded by 0, and one is only padding."""
    chance = torch.Generator().manual_seed(seed)
    x = {name: torch.randint(0, SIZES[name], (N_ROW,), generator=chance) for name in ("user", "item", "previous", "tag")}
    for name in ("clicks", "words"):
        ids = torch.randint(1, SIZES[name], (N_ROW, LENGTH), generator=chance)
        x[name] = torch.where(torch.arange(LENGTH) < torch.randint(1, LENGTH + 1, (N_ROW, 1), generator=chance), ids, 0)
    x["clicks"][0] = 0
    for name in ("age", "price"):
        x[name] = torch.randn(N_ROW, generator=chance)
    return x
