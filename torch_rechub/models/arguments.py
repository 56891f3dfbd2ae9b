"""Arguments that models share: lists of features, and the arguments of their networks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

from torch import nn

from torch_rechub.arguments import unknown_argument
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, Feature
from torch_rechub.basic.layers import MLP

__all__ = ["arguments_of_mlp", "feature_list", "fields_of", "hidden_layers", "only_fields", "pooled_features"]


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


def pooled_features(model: str, argument: str, features: Any) -> list[Feature]:
    """The features as a list that is not empty, and in which sequences are pooled.

    Raises:
        TypeError: naming what is no feature.
        ValueError: there is none, or a sequence has pooling "concat".
    """
    listed = feature_list(model, argument, features)
    if not listed:
        raise ValueError(f"{model}: {argument} must hold at least one feature; got none.")
    for feature in listed:
        if getattr(feature, "pooling", None) == "concat":
            raise ValueError(f"{model}: {argument}: sequences must be pooled by 'mean' or 'sum'; got pooling='concat' in {feature!r}.")
    return listed


def fields_of(model: str, argument: str, features: Sequence[Feature], at_least: int = 1) -> list[Feature]:
    """The embedded features of a list, which have one ``embed_dim``.

    Raises:
        ValueError: there are fewer than ``at_least``, or their widths differ.
    """
    fields: list[Feature] = [feature for feature in features if isinstance(feature, EmbeddedFeature)]
    if len(fields) < at_least:
        n_must = f"at least {at_least} SparseFeature or SequenceFeature"
        raise ValueError(f"{model}: {argument} must hold {n_must}; got {len(fields)} in {list(features)}.")
    widths = {feature.name: feature.embed_dim for feature in fields}
    if len(set(widths.values())) > 1:
        raise ValueError(f"{model}: embedded features in {argument} must have one embed_dim; got {widths}. Make them equal.")
    return fields


def only_fields(model: str, argument: str, features: Any, at_least: int = 1, remedy: str = "") -> list[Feature]:
    """A list of features that are all fields: sparse features and pooled sequences, of one ``embed_dim``.

    Args:
        model: the class that errors name.
        argument: the argument that errors name.
        features: what the caller gave.
        at_least: number of fields that the model needs.
        remedy: what to do with a dense feature, a sentence.

    Raises:
        TypeError: naming what is no feature.
        ValueError: there are too few, one is dense or a whole sequence, or the widths differ.
    """
    listed = pooled_features(model, argument, features)
    for feature in listed:
        if isinstance(feature, DenseFeature):
            raise ValueError(f"{model}: {argument} must be sparse features or sequences; got {feature!r}. {remedy}".rstrip())
    fields_of(model, argument, listed, at_least)
    return listed


def arguments_of_mlp(model: str, argument: str, given: Any, network: type[nn.Module] = MLP) -> dict[str, Any]:
    """The arguments of :class:`~torch_rechub.basic.layers.MLP`, or of another network, besides its input and output.

    Raises:
        TypeError: when it is no mapping, or naming a key that the network does not have.
    """
    if not isinstance(given, Mapping):
        example = f"{argument}={{'dims': [256, 128], 'dropout': 0.2}}"
        raise TypeError(f"{model}: {argument} must be a dict of the network's arguments, such as {example}; got {given!r}.")
    known = [name for name in inspect.signature(network).parameters if name not in {"input_dim", "output_layer"}]
    for name in given:
        if name not in known:
            raise TypeError(f"{model}: {unknown_argument(argument, name, known)}")
    return dict(given)


def hidden_layers(model: str, argument: str, given: Any) -> dict[str, Any]:
    """The arguments of a network without an output layer, which has at least one hidden layer.

    Raises:
        TypeError: what :func:`arguments_of_mlp` raises.
        ValueError: ``dims`` is missing or empty.
    """
    arguments = arguments_of_mlp(model, argument, given)
    dims = arguments.get("dims")
    if dims is None or (isinstance(dims, Sized) and not len(dims)):
        raise ValueError(f"{model}: {argument} must have dims, the width of each hidden layer, at least one; got {given!r}.")
    return arguments
