"""The order of a model's input columns, which saved weights depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch_rechub.basic.features import DenseFeature, Feature

__all__ = ["column_order", "order_error"]


def column_order(features: Sequence[Feature]) -> dict[str, list[str]]:
    """The names of ``features`` in the order in which a model reads their columns: embedded features first, then dense ones.

    A feature that is listed twice, in two parts of a model for instance, is named twice.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> column_order([SparseFeature("user", 10, 4), DenseFeature("age"), SparseFeature("item", 20, 4)])
        {'embedded': ['user', 'item'], 'dense': ['age']}
    """
    return {
        "embedded": [feature.name for feature in features if not isinstance(feature, DenseFeature)],
        "dense": [feature.name for feature in features if isinstance(feature, DenseFeature)],
    }


def order_error(layer: str, saved: Mapping[str, Any] | None, expected: Mapping[str, list[str]]) -> list[str]:
    """The message about weights that were saved with another order of columns, in a list; an empty list where the orders agree.

    Args:
        layer: the name of the embedding layer in the model.
        saved: the order that was saved with the weights; None where none was saved, which is not an error.
        expected: the order of this model.
    """
    if saved is None or dict(saved) == dict(expected):
        return []
    return [
        f"{layer}: the weights must come from a model with the same features in the same order, because the layers that follow read "
        f"columns by position. The weights were saved with {_describe(saved)}, and this model has {_describe(expected)}. "
        "Build the model with its features in the saved order. To load without this check, pass dict(state_dict)."
    ]


def _describe(order: Mapping[str, Any]) -> str:
    return " and ".join(f"{kind} features {list(names)}" for kind, names in order.items() if names) or "no features"
