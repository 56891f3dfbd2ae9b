"""The input of a model's formula, row by row from its weights, and a model whose weights are large enough to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import zoo
from torch import Tensor, nn

from torch_rechub.basic.features import DenseFeature, Feature, SequenceFeature


def model_in_double(name: str, **options: Any) -> nn.Module:
    """The tiny model of a recipe in float64 and in evaluation, all weights drawn from a normal distribution of deviation 0.5."""
    model = zoo.model(name, **options).double().eval()
    chance = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in [*model.parameters(), *(buffer for key, buffer in model.named_buffers() if key.endswith("running_mean"))]:
            weight.copy_(0.5 * torch.randn(weight.shape, generator=chance, dtype=torch.float64))
    return model


def rows(n: int = 7, name: str = "DeepFM") -> dict[str, Tensor]:
    """A batch with dense columns in float64; one list is only padding."""
    x, _ = zoo.tensors(n, name=name)
    x["tags"][0] = 0
    return {key: column.double() if column.is_floating_point() else column for key, column in x.items()}


def vector(model: nn.Module, x: dict[str, Tensor], row: int, feature: Feature, layer: str = "embedding") -> Tensor:
    """What a model reads of one feature in one row, ``(D,)``: its embedding, the mean of its embeddings, or its numbers."""
    if isinstance(feature, DenseFeature):
        return x[feature.name][row].reshape(-1)
    weight = model.state_dict()[f"{layer}.embed_dict.{feature.table_name}.weight"]
    if not isinstance(feature, SequenceFeature):
        return weight[x[feature.name][row]]
    found = [weight[i] for i in x[feature.name][row] if i != feature.padding_idx]
    return sum(found) / len(found) if found else torch.zeros(feature.embed_dim, dtype=weight.dtype)


def flat(model: nn.Module, x: dict[str, Tensor], row: int, features: Sequence[Feature]) -> Tensor:
    """All columns of a row side by side: the embedded ones in order, then the dense ones in order."""
    ordered = sorted(features, key=lambda feature: isinstance(feature, DenseFeature))
    return torch.cat([vector(model, x, row, feature) for feature in ordered])


def network(mlp: nn.Module, h: Tensor) -> Tensor:
    """A network of :class:`MLP` for one row ``(d,)``: Linear, batch norm by running statistics and ReLU for each hidden layer."""
    state, at = mlp.state_dict(), 0
    while f"mlp.{at}.weight" in state:
        h = state[f"mlp.{at}.weight"] @ h + state[f"mlp.{at}.bias"]
        if f"mlp.{at + 1}.running_mean" not in state:
            return h
        mean, var, scale, shift = (state[f"mlp.{at + 1}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        h = ((h - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)
        at += 4
    return h
