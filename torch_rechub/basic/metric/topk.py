"""NDCG, MRR, recall, hit and precision of the first K recommended items, from lists of item ids by user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from torch_rechub.arguments import named_arguments

__all__ = ["hit_score", "mrr_score", "ndcg_score", "precision_score", "recall_score", "topk_metrics"]


@named_arguments
def topk_metrics(
    y_true: Mapping[Any, Iterable[Any]], y_pred: Mapping[Any, Iterable[Any]], topKs: Sequence[int] | None = None
) -> dict[str, list[str]]:
    """All five metrics for each K, as text with four decimals: ``{"NDCG": ["NDCG@5: 0.1234"], "MRR": [...], "Recall": ...}``.

    With ``hit_j`` = 1 where the j-th recommended item is relevant, ``R`` the number of relevant items, and the mean over users:

    - NDCG: ``sum_j hit_j / log2(j + 1)`` over its maximum, ``sum_{j <= min(R, K)} 1 / log2(j + 1)``: the gain is 0 or 1 and the first
      item is discounted by log2(2) (cf. Järvelin & Kekäläinen, *Cumulated Gain-Based Evaluation of IR Techniques*, TOIS 2002).
    - MRR: 1 over the rank of the first hit, 0 without a hit (Voorhees, *The TREC-8 Question Answering Track Report*, TREC 1999).
    - Recall: ``hits / R``. Precision: ``hits / K``, also if fewer than K items were recommended.
    - Hit: hits of all users over relevant items of all users; with one relevant item per user this is the hit ratio.

    An item that is recommended twice counts as one hit. A user without relevant items counts as 0.

    Args:
        y_true: user -> the relevant items.
        y_pred: user -> the recommended items, best first; may be shorter than K.
        topKs: the list lengths K; None is [5].

    Raises:
        ValueError: when ``y_true`` and ``y_pred`` hold different users, there is no user, or ``topKs`` is not a list of integers >= 1.

    Example:
        >>> topk_metrics({"ann": [1, 2]}, {"ann": [3, 1]}, topKs=[1, 2])["Recall"]
        ['Recall@1: 0.0', 'Recall@2: 0.5']
    """
    ks = check_topks(topKs)
    if not y_true or set(y_true) != set(y_pred):
        unmatched = sorted(map(repr, set(y_true) ^ set(y_pred)))[:5]
        raise ValueError(
            f"y_true and y_pred must hold the same users, at least one; got {len(y_true)} and {len(y_pred)}, not in both: {unmatched}."
        )
    relevant = {user: set(as_list(items)) for user, items in y_true.items()}
    hits = np.stack([_hits(as_list(y_pred[user])[: max(ks)], items, max(ks)) for user, items in relevant.items()])  # (users, max K)
    n_relevant = np.array([len(items) for items in relevant.values()])
    scores = [_scores(hits[:, :k], n_relevant) for k in ks]
    return {name: format_scores(name, ks, [score[name] for score in scores]) for name in ("NDCG", "MRR", "Recall", "Hit", "Precision")}


@named_arguments
def ndcg_score(y_true: Mapping[Any, Iterable[Any]], y_pred: Mapping[Any, Iterable[Any]], topKs: Sequence[int] | None = None) -> list[str]:
    """The NDCG lines of :func:`topk_metrics`."""
    return topk_metrics(y_true, y_pred, topKs)["NDCG"]


@named_arguments
def hit_score(y_true: Mapping[Any, Iterable[Any]], y_pred: Mapping[Any, Iterable[Any]], topKs: Sequence[int] | None = None) -> list[str]:
    """The Hit lines of :func:`topk_metrics`."""
    return topk_metrics(y_true, y_pred, topKs)["Hit"]


@named_arguments
def mrr_score(y_true: Mapping[Any, Iterable[Any]], y_pred: Mapping[Any, Iterable[Any]], topKs: Sequence[int] | None = None) -> list[str]:
    """The MRR lines of :func:`topk_metrics`."""
    return topk_metrics(y_true, y_pred, topKs)["MRR"]


@named_arguments
def recall_score(y_true: Mapping[Any, Iterable[Any]], y_pred: Mapping[Any, Iterable[Any]], topKs: Sequence[int] | None = None) -> list[str]:
    """The Recall lines of :func:`topk_metrics`."""
    return topk_metrics(y_true, y_pred, topKs)["Recall"]


@named_arguments
def precision_score(
    y_true: Mapping[Any, Iterable[Any]], y_pred: Mapping[Any, Iterable[Any]], topKs: Sequence[int] | None = None
) -> list[str]:
    """The Precision lines of :func:`topk_metrics`."""
    return topk_metrics(y_true, y_pred, topKs)["Precision"]


def check_topks(topks: Sequence[int] | None) -> list[int]:
    """The list lengths, [5] for None. Values other than integers >= 1 are refused."""
    ks: Sequence[Any] = [5] if topks is None else topks
    if not isinstance(ks, (list, tuple)) or not ks or not all(isinstance(k, (int, np.integer)) and k >= 1 for k in ks):
        raise ValueError(f"topKs must be a list or tuple of integers >= 1; got {topks!r}. Write topKs=[5, 10].")
    return [int(k) for k in ks]


def as_list(items: Any) -> list[Any]:
    """The items as Python objects, because elements of a tensor cannot be looked up in a set."""
    return items.tolist() if hasattr(items, "tolist") else list(items)


def format_scores(name: str, ks: Sequence[int], scores: Iterable[float]) -> list[str]:
    """One line of text for each K."""
    return [f"{name}@{k}: {round(float(score), 4)}" for k, score in zip(ks, scores, strict=True)]


def _hits(recommended: list[Any], relevant: set[Any], length: int) -> np.ndarray:
    first_position = {item: position for position, item in reversed(list(enumerate(recommended)))}
    hits = np.zeros(length)
    hits[[first_position[item] for item in relevant & first_position.keys()]] = 1.0
    return hits


def user_terms(measure: str, hits: np.ndarray, n_relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numerator and the denominator that each user adds to a measure: the measure is the sum of the first over the sum of the second.

    The terms of a user depend on this user alone, to the last bit. The formulas are those of :func:`topk_metrics`, and besides them "HR",
    the share of users with at least one hit (Deshpande & Karypis, *Item-Based Top-N Recommendation Algorithms*, TOIS 2004).

    Args:
        measure: "NDCG", "MRR", "Recall", "Precision", "Hit" or "HR".
        hits: 1.0 where the item in this place of the list is relevant, else 0.0; the number of columns is K.
        n_relevant: the number of relevant items; 0 counts as a value of 0.

    Shape:
        ``hits``: ``(users, K)``. ``n_relevant`` and both results: ``(users,)``.
    """
    weights = n_relevant.astype(np.float64) if measure == "Hit" else np.ones(len(hits))
    return _NUMERATORS[measure](hits, n_relevant), weights


def _scores(hits: np.ndarray, n_relevant: np.ndarray) -> dict[str, float]:
    terms = {name: user_terms(name, hits, n_relevant) for name in ("NDCG", "MRR", "Recall", "Hit", "Precision")}
    return {name: float(values.sum() / max(weights.sum(), 1)) for name, (values, weights) in terms.items()}


def _ndcg(hits: np.ndarray, n_relevant: np.ndarray) -> np.ndarray:
    k = hits.shape[1]
    discount = 1 / np.log2(np.arange(1, k + 1) + 1)
    ideal = np.cumsum(discount)[np.clip(n_relevant, 1, k) - 1]  # (users,)
    return (hits * discount).sum(axis=1) / ideal


_NUMERATORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "NDCG": _ndcg,
    "MRR": lambda hits, _: (hits / np.arange(1, hits.shape[1] + 1)).max(axis=1),
    "Recall": lambda hits, n_relevant: hits.sum(axis=1) / np.maximum(n_relevant, 1),
    "Precision": lambda hits, _: hits.sum(axis=1) / hits.shape[1],
    "Hit": lambda hits, _: hits.sum(axis=1),
    "HR": lambda hits, _: hits.max(axis=1),
}
