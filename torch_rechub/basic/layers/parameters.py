"""The embedding tables among the parameters of a model."""

from __future__ import annotations

from typing import Any

from torch import nn

from torch_rechub.basic.layers.feature_embedding import is_part_of_table
from torch_rechub.basic.layers.table import EmbeddingTable

__all__ = ["split_parameters", "table_weights"]

_TABLES = (EmbeddingTable, nn.Embedding, nn.EmbeddingBag)


def table_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of a model's embedding tables: ours and torch's."""
    return [
        weight
        for module in model.modules()
        if isinstance(module, _TABLES) and not is_part_of_table(module)
        for weight in module.parameters(recurse=False)
    ]


def split_parameters(model: nn.Module) -> list[dict[str, Any]]:
    """All parameters of a model as two groups for an optimizer, named "embedding" (the tables) and "dense" (the rest).

    A weight that a table shares with another layer is in the first group. A group may be empty.

    Example:
        >>> model = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 1))
        >>> [(group["name"], len(group["params"])) for group in split_parameters(model)]
        [('embedding', 1), ('dense', 2)]
    """
    tables = {id(weight) for weight in table_weights(model)}
    embedding = [weight for weight in model.parameters() if id(weight) in tables]
    dense = [weight for weight in model.parameters() if id(weight) not in tables]
    return [{"params": embedding, "name": "embedding"}, {"params": dense, "name": "dense"}]
