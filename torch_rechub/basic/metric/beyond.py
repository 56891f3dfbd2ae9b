"""Diversity, coverage and novelty of recommended lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.topk import as_list, check_topks, format_scores

__all__ = ["coverage_score", "diversity_score", "novelty_score"]

#: The popularity of an item without interactions; it limits the surprise to 33.2 bits.
MIN_POPULARITY = 1e-10


@named_arguments
def diversity_score(
    y_pred: Mapping[Any, Iterable[Any]], item_embeddings: Mapping[Any, Any] | np.ndarray, topKs: Sequence[int] | None = None
) -> dict[str, list[str]]:
    """Mean over users of the mean of ``1 - cosine`` over all pairs of the first K items.

    Smyth & McClave, *Similarity vs. Diversity*, ICCBR 2001. Lists with fewer than two items that have vectors are left out; without
    any list the score is 0. The cosine of a zero vector with any other vector is 0.

    Args:
        y_pred: user -> the recommended items, best first.
        item_embeddings: item -> vector, or a matrix whose row number is the item; items without a vector are ignored.
        topKs: the list lengths K; None is [5].

    Raises:
        ValueError: when ``topKs`` is not a list of integers >= 1.

    Example:
        >>> diversity_score({"ann": [0, 1]}, np.array([[1.0, 0.0], [0.0, 1.0]]), topKs=[2])
        {'Diversity': ['Diversity@2: 1.0']}
    """
    ks, lists = check_topks(topKs), [as_list(items) for items in y_pred.values()]
    scores = [_mean_of_defined(_diversity(_vectors(items[:k], item_embeddings)) for items in lists) for k in ks]
    return {"Diversity": format_scores("Diversity", ks, scores)}


@named_arguments
def coverage_score(
    y_pred: Mapping[Any, Iterable[Any]], all_items: Collection[Any], topKs: Sequence[int] | None = None
) -> dict[str, list[str]]:
    """The share of the catalogue that is among the first K items of at least one user (Ge et al., *Beyond Accuracy*, RecSys 2010).

    Args:
        y_pred: user -> the recommended items, best first; items outside the catalogue are ignored.
        all_items: the catalogue.
        topKs: the list lengths K; None is [5].

    Raises:
        ValueError: when the catalogue is empty or ``topKs`` is not a list of integers >= 1.

    Example:
        >>> coverage_score({"ann": [0, 1], "bob": [0, 2]}, all_items=[0, 1, 2, 3], topKs=[1, 2])
        {'Coverage': ['Coverage@1: 0.25', 'Coverage@2: 0.75']}
    """
    ks, lists, catalogue = check_topks(topKs), [as_list(items) for items in y_pred.values()], set(as_list(all_items))
    if not catalogue:
        raise ValueError("all_items must hold at least one item; got none.")
    scores = [len(catalogue.intersection(chain.from_iterable(items[:k] for items in lists))) / len(catalogue) for k in ks]
    return {"Coverage": format_scores("Coverage", ks, scores)}


@named_arguments
def novelty_score(
    y_pred: Mapping[Any, Iterable[Any]], item_popularity: Mapping[Any, float], topKs: Sequence[int] | None = None
) -> dict[str, list[str]]:
    """Mean over users of the mean surprise ``-log2(popularity)`` of the first K items, in bits.

    Zhou et al., *Solving the Apparent Diversity-Accuracy Dilemma of Recommender Systems*, PNAS 2010. Empty lists are left out.

    Args:
        y_pred: user -> the recommended items, best first.
        item_popularity: item -> its share of all interactions, in (0, 1]; a missing item has 1e-10, which gives 33.2 bits.
        topKs: the list lengths K; None is [5].

    Raises:
        ValueError: when ``topKs`` is not a list of integers >= 1.

    Example:
        >>> novelty_score({"ann": [0, 1]}, {0: 0.5, 1: 0.125}, topKs=[1, 2])
        {'Novelty': ['Novelty@1: 1.0', 'Novelty@2: 2.0']}
    """
    ks, lists = check_topks(topKs), [as_list(items) for items in y_pred.values()]
    scores = [_mean_of_defined(_surprise(items[:k], item_popularity) for items in lists) for k in ks]
    return {"Novelty": format_scores("Novelty", ks, scores)}


def _vectors(items: list[Any], embeddings: Mapping[Any, Any] | np.ndarray) -> np.ndarray:
    if isinstance(embeddings, Mapping):
        return np.array([as_list(embeddings[item]) for item in items if item in embeddings], np.float64)
    rows = np.array([item for item in items if 0 <= item < len(embeddings)], np.int64)
    return np.asarray(embeddings, np.float64)[rows]


def _diversity(vectors: np.ndarray) -> float | None:
    """Mean of ``1 - cosine`` over the pairs. The cosines of all pairs sum to half of ``|sum u|^2 - sum |u|^2`` for the unit vectors u."""
    n = len(vectors)
    if n < 2:
        return None
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-10)  # (n, D)
    cosines = (np.square(units.sum(axis=0)).sum() - np.square(units).sum()) / 2
    return float(1 - cosines / (n * (n - 1) / 2))


def _surprise(items: list[Any], popularity: Mapping[Any, float]) -> float | None:
    shares = np.array([popularity.get(item, MIN_POPULARITY) for item in items], np.float64)
    return float(-np.log2(np.maximum(shares, MIN_POPULARITY)).mean()) if len(shares) else None


def _mean_of_defined(scores: Iterable[float | None]) -> float:
    defined = [score for score in scores if score is not None]
    return float(np.mean(defined)) if defined else 0.0
