"""EDCN. Chen et al., *Enhancing Explicit and Implicit Feature Interactions via Information Sharing ...*, CIKM 2021."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments, positive_number, whole_number
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import LR, MLP, BatchNorm1d, CrossLayer, EmbeddingLayer
from torch_rechub.models.arguments import arguments_of_mlp, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["BRIDGES", "EDCN", "BridgeModule", "RegulationModule"]

logger = logging.getLogger(__name__)

#: How a bridge combines the two networks.
BRIDGES = ("hadamard_product", "pointwise_addition", "concatenation", "attention_pooling")


@named_arguments
class EDCN(RankingModel):
    """A cross network and a deep network that exchange what they found behind each layer.

    Chen et al., *Enhancing Explicit and Implicit Feature Interactions via Information Sharing for Parallel Deep CTR Models*, CIKM 2021.
    Behind layer ``l`` a bridge combines both outputs, and a regulation weights the fields of the result for each network's next layer:
    ``x_{l+1} = x_0 (w . r1) + b + r1``, ``h_{l+1} = network(r2)`` with ``r1, r2 = regulation(bridge(x_l, h_l))``; the regulation in front
    of the first layer reads the embeddings. ``logit = w . [x_L, h_L, bridge(x_L, h_L)] + b``. Deviations, as in the existing package:
    between two bridges there are two hidden layers (``n_deep_layers=1`` is the paper's), which are batch-normalised. Difference from the
    existing package, whose weights load: its regulation is a softmax over one number, thus 1 for every field, and without gradient.

    Args:
        features: all columns, each of which is a field; the input holds the embedded ones first, then the dense ones.
        n_cross_layers: number of layers of each network, at least 1.
        mlp_params: arguments of the hidden layers: ``dropout``, ``activation``, ``norm``. They have the width of the input, since a bridge
            combines them with crosses: ``dims`` is not used, as in the existing package, and a warning says so.
        bridge_type: see :class:`BridgeModule`.
        use_regulation_module: whether fields are weighted; without it both networks read the bridge as it is.
        temperature: see ``tau`` of :class:`RegulationModule`.
        n_deep_layers: number of hidden layers between two bridges, at least 1.
        regulation_norm: see ``norm`` of :class:`RegulationModule`.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty or has a sequence with pooling "concat", a number is below 1, ``temperature`` is not above 0, or
            ``bridge_type`` or ``regulation_norm`` has an unknown value.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> features = [SparseFeature("user", 10, 4), SparseFeature("item", 20, 4), DenseFeature("age")]
        >>> model = EDCN(features, n_cross_layers=2, mlp_params={"dropout": 0.2}, temperature=5)
        >>> x = {"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4]), "age": torch.tensor([0.5, 0.7])}
        >>> model(x).shape, model((x, torch.tensor([0.0, 1.0]))).shape
        (torch.Size([2]), torch.Size([]))
    """

    def __init__(
        self,
        features: Sequence[Feature],
        n_cross_layers: int,
        mlp_params: Mapping[str, Any],
        bridge_type: Literal["hadamard_product", "pointwise_addition", "concatenation", "attention_pooling"] = "hadamard_product",
        use_regulation_module: bool = True,
        temperature: float = 1,
        *,
        n_deep_layers: int = 2,
        regulation_norm: Literal["batch"] | None = None,
    ) -> None:
        super().__init__()
        choice("EDCN: bridge_type", bridge_type, BRIDGES)
        self.features = pooled_features("EDCN", "features", features)
        self.n_cross_layers = whole_number("EDCN: n_cross_layers", n_cross_layers)
        self.num_fields = len(self.features)
        self.fea_dims = [feature.embed_dim for feature in sorted(self.features, key=lambda each: isinstance(each, DenseFeature))]
        self.dims = sum(self.fea_dims)
        arguments: dict[str, Any] = _without_dims(mlp_params)
        arguments["dims"] = [self.dims] * whole_number("EDCN: n_deep_layers", n_deep_layers)
        layers = range(self.n_cross_layers)
        self.embedding = EmbeddingLayer(self.features)
        self.cross_layers = nn.ModuleList([CrossLayer(self.dims) for _ in layers])
        self.bridge_modules = nn.ModuleList([BridgeModule(self.dims, bridge_type) for _ in layers])
        regulations = [
            RegulationModule(self.num_fields, self.fea_dims, temperature, use_regulation_module, norm=regulation_norm) for _ in layers
        ]
        self.regulation_modules = nn.ModuleList(regulations)
        self.mlps = nn.ModuleList([MLP(self.dims, output_layer=False, **arguments) for _ in layers])
        self.linear = LR(self.dims * 3)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        bridge = self.embedding.look_up(x, self.features).flat(self.features)  # (B, d)
        cross = deep = first = None
        for regulate, cross_layer, mlp, combine in zip(
            self.regulation_modules, self.cross_layers, self.mlps, self.bridge_modules, strict=True
        ):
            cross, deep = regulate(bridge)
            first = cross if first is None else first
            cross, deep = cross + cross_layer(first, cross), mlp(deep)
            bridge = combine(cross, deep)
        assert cross is not None
        assert deep is not None
        return self.linear(torch.cat([cross, deep, bridge], dim=1)).squeeze(1)


def _without_dims(mlp_params: Mapping[str, Any]) -> dict[str, Any]:
    arguments = arguments_of_mlp("EDCN", "mlp_params", mlp_params)
    dims = arguments.pop("dims", None)
    if dims is not None:
        logger.warning(
            "EDCN: mlp_params['dims']=%s is not used: hidden layers have the width of the input; n_deep_layers is their number", dims
        )
    return arguments


@named_arguments
class BridgeModule(nn.Module):
    """What two networks found, combined (section "Bridge Module" of the paper).

    "hadamard_product" ``x * h``, "pointwise_addition" ``x + h``, "concatenation" ``relu(W [x, h] + b)``, "attention_pooling"
    ``a_x * x + a_h * h`` with ``a = softmax(P relu(W x + b))`` over the d entries, with weights of its own for each network.

    Args:
        input_dim: width d of both inputs.
        bridge_type: how they are combined.

    Shape:
        ``x`` and ``h`` ``(B, d)`` -> ``(B, d)``.

    Raises:
        ValueError: ``bridge_type`` is none of the four.

    Example:
        >>> BridgeModule(2, "pointwise_addition")(torch.ones(1, 2), torch.ones(1, 2))
        tensor([[2., 2.]])
    """

    def __init__(self, input_dim: int, bridge_type: str) -> None:
        super().__init__()
        choice("BridgeModule: bridge_type", bridge_type, BRIDGES)
        self.bridge_type = bridge_type
        if bridge_type == "concatenation":
            self.concat_pooling = nn.Sequential(nn.Linear(input_dim * 2, input_dim), nn.ReLU())
        elif bridge_type == "attention_pooling":
            self.attention_x, self.attention_h = (
                nn.Sequential(nn.Linear(input_dim, input_dim), nn.ReLU(), nn.Linear(input_dim, input_dim, bias=False), nn.Softmax(dim=-1))
                for _ in "xh"
            )

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """The combination of ``x`` and ``h``."""
        if self.bridge_type == "concatenation":
            return self.concat_pooling(torch.cat([x, h], dim=-1))
        if self.bridge_type == "attention_pooling":
            return self.attention_x(x) * x + self.attention_h(h) * h
        return x * h if self.bridge_type == "hadamard_product" else x + h


@named_arguments
class RegulationModule(nn.Module):
    """Fields weighted for each of two networks: ``softmax(g / tau)`` over the fields (section "Regulation Module" of the paper).

    Args:
        num_fields: number of fields, F.
        dims: width of each field, in the order of the columns.
        tau: temperature of the softmax, above 0: the larger, the more equal are the weights.
        use_regulation: False returns the input twice.
        norm: "batch" normalises both results, as in published implementations; the weights sum to 1, so without it each layer makes the
            values about F times smaller.

    Shape:
        ``(B, sum of dims)`` -> two tensors of this shape.

    Raises:
        ValueError: ``dims`` has not ``num_fields`` widths, ``tau`` is not above 0, or ``norm`` has an unknown value.

    Example:
        >>> RegulationModule(2, [1, 3], tau=1)(torch.ones(1, 4))[0].tolist()
        [[0.5, 0.5, 0.5, 0.5]]
    """

    field_of_column: Tensor

    def __init__(
        self, num_fields: int, dims: Sequence[int], tau: float, use_regulation: bool = True, *, norm: Literal["batch"] | None = None
    ) -> None:
        super().__init__()
        choice("RegulationModule: norm", norm, ["batch", None])
        if len(dims) != num_fields:
            raise ValueError(f"RegulationModule: dims must have the width of each of num_fields={num_fields} fields; got {list(dims)}.")
        self.use_regulation = use_regulation
        self.num_fields, self.dims = num_fields, list(dims)
        self.tau = positive_number("RegulationModule: tau", tau)
        self.norms = None
        if use_regulation:
            self.g1 = nn.Parameter(torch.ones(num_fields))
            self.g2 = nn.Parameter(torch.ones(num_fields))
            self.register_buffer("field_of_column", torch.arange(num_fields).repeat_interleave(torch.tensor(dims)), persistent=False)
            self.norms = None if norm is None else nn.ModuleList([BatchNorm1d(sum(dims)) for _ in range(2)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The input of the cross network and that of the deep network."""
        if not self.use_regulation:
            return x, x
        weights = (torch.stack([self.g1, self.g2]) / self.tau).softmax(dim=1)  # (2, F)
        first, second = weights.index_select(1, self.field_of_column)  # (sum of dims,) each
        if self.norms is None:
            return x * first, x * second
        return self.norms[0](x * first), self.norms[1](x * second)
