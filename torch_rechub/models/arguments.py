"""Arguments that models share: lists of features, and the arguments of their networks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch_rechub.arguments import unknown_argument
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature
from torch_rechub.basic.layers import MLP

__all__ = ["arguments_of_mlp", "feature_list"]


def feature_list(model: str, argument: str, features: Any) -> list[Feature]:
    """The features as a list.

    Raises:
        TypeError: naming what is no feature, and how one is written.
    """
    if isinstance(features, DenseFeature | EmbeddedFeature):
        raise TypeError(f"{model}: {argument} must be a list of features; got one. Put it in brackets: {argument}=[...].")
    if isinstance(features, str) or not isinstance(features, Iterable):
        raise TypeError(f"{model}: {argument} must be a list of features; got {features!r}.")
    listed = list(features)
    for place, feature in enumerate(listed):
        if not isinstance(feature, DenseFeature | EmbeddedFeature):
            name = feature if isinstance(feature, str) else "name"
            remedy = f"Write DenseFeature({name!r}), SparseFeature({name!r}, vocab_size) or SequenceFeature({name!r}, vocab_size)."
            raise TypeError(f"{model}: {argument} must hold features; got {feature!r} at place {place}. {remedy}")
    return listed


def arguments_of_mlp(model: str, argument: str, given: Any) -> dict[str, Any]:
    """The arguments of :class:`~torch_rechub.basic.layers.MLP` besides its input and output.

    Raises:
        TypeError: when it is no mapping, or naming a key that the network does not have.
    """
    if not isinstance(given, Mapping):
        example = f"{argument}={{'dims': [256, 128], 'dropout': 0.2}}"
        raise TypeError(f"{model}: {argument} must be a dict of the network's arguments, such as {example}; got {given!r}.")
    known = [name for name in inspect.signature(MLP).parameters if name not in {"input_dim", "output_layer"}]
    for name in given:
        if name not in known:
            raise TypeError(f"{model}: {unknown_argument(argument, name, known)}")
    return dict(given)
