"""Metrics of retrieval models: streaming means over users whose whole catalogue was ranked."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.metric.base import suggest_name, undefined
from torch_rechub.basic.metric.topk import user_terms

__all__ = ["CatalogueMetric", "RankedUsers", "get_catalogue_metric"]

_MEASURES = {"recall": "Recall", "ndcg": "NDCG", "hr": "HR", "hit": "Hit", "mrr": "MRR", "precision": "Precision"}
_NAME = re.compile(r"([a-z]+)(?:@([1-9][0-9]*))?")


class RankedUsers(NamedTuple):
    """What a ranking of the catalogue leaves behind for the metrics: one row for each user with at least one relevant item.

    Attributes:
        hits: whether the item in this place of the list is relevant, ``(B, K)`` bool, best place first.
        n_relevant: the number of relevant items, ``(B,)``, each >= 1.
        first: the place of the best relevant item in the whole catalogue, counted from 1, ``(B,)``; 0 where it has none. None where no
            metric asked for it.
        is_nan: whether one of the user's scores is NaN, ``(B,)`` bool.
    """

    hits: Tensor
    n_relevant: Tensor
    first: Tensor | None
    is_nan: Tensor

    def select(self, chosen: Tensor) -> RankedUsers:
        """Only the users for whom ``chosen``, ``(B,)`` bool, is true."""
        first = None if self.first is None else self.first[chosen]
        return RankedUsers(self.hits[chosen], self.n_relevant[chosen], first, self.is_nan[chosen])


@named_arguments
class CatalogueMetric:
    """A measure of ranked lists: ``sum(numerator of a user) / sum(denominator of a user)`` over all users.

    With ``hit_j`` = 1 where the j-th item of the list is relevant, ``R`` the number of relevant items and ``U`` the number of users, the
    formulas are those of :func:`~torch_rechub.basic.metric.topk.topk_metrics`, from the same code:

    - ``recall@K``: mean of ``hits / R``, as in RecBole (Zhao et al., CIKM 2021), BARS (Zhu et al., SIGIR 2022) and LightGCN (He et al.,
      SIGIR 2020). Some papers divide by ``min(R, K)`` instead; this one does not.
    - ``ndcg@K``: mean of ``sum_j hit_j / log2(j + 1)`` over ``sum_{j <= min(R, K)} 1 / log2(j + 1)`` (cf. Järvelin & Kekäläinen, TOIS
      2002), as in the same three.
    - ``hr@K``: the share of users with at least one hit (Deshpande & Karypis, TOIS 2004), which RecBole calls Hit.
    - ``hit@K``: hits of all users over relevant items of all users, as ``hit_score``. It equals ``hr@K`` where each user has one relevant
      item, and differs from it elsewhere.
    - ``mrr@K``: mean of 1 over the place of the first hit, 0 without a hit (Voorhees, TREC 1999). ``mrr``: the same over the whole
      catalogue.
    - ``precision@K``: mean of ``hits / K``, also where the catalogue has fewer than K items.

    It is a monoid as :class:`~torch_rechub.basic.metric.base.Metric` is, but no subclass of it: a ``Metric`` takes a label and a prediction
    of each row, and this one takes ranked lists, so neither could stand where the other is expected. The numerators are summed without
    rounding: the sum is kept as a few float64 numbers that represent it exactly. The same users therefore give the same bits however they
    are cut into batches and whatever order they are merged in, and the state stays small.

    Args:
        measure: "recall", "ndcg", "hr", "hit", "mrr" or "precision".
        k: the length of the list, >= 1; None is the whole catalogue, for "mrr" only.

    Attributes:
        name: the name under which the value is recorded, such as "recall@20".
        higher_is_better: always True.
        k: as given.

    Raises:
        ValueError: when the measure is not known or ``k`` is not a whole number >= 1.

    Example:
        >>> metric = CatalogueMetric("recall", 2)
        >>> hits = torch.tensor([[True, False], [False, False]])
        >>> metric.update(RankedUsers(hits, torch.tensor([2, 1]), None, torch.tensor([False, False])))
        >>> metric.name, metric.compute()
        ('recall@2', 0.25)
    """

    higher_is_better: bool = True

    def __init__(self, measure: str, k: int | None) -> None:
        name = measure if k is None else f"{measure}@{k}"
        if measure not in _MEASURES or not _is_known(name):
            raise ValueError(_unknown(name))
        self.name, self.measure, self.k = name, measure, k
        self._parts: list[float] = []  # the exact sum of the numerators
        self._weight = 0  # the sum of the denominators
        self._n_nan = 0

    def empty(self) -> CatalogueMetric:
        """A fresh metric with the same settings and no users."""
        fresh = copy.copy(self)
        fresh._parts, fresh._weight, fresh._n_nan = [], 0, 0
        return fresh

    def update(self, users: RankedUsers) -> None:
        """Add one batch of users.

        Raises:
            ValueError: when the lists are shorter than K, or the places in the whole catalogue are needed and missing.
        """
        values, weights = self._terms(users)
        is_nan = users.is_nan.cpu().numpy()
        self._parts = exact_sum([*self._parts, *values[~is_nan].tolist()])
        self._weight += int(weights.sum())
        self._n_nan += int(is_nan.sum())

    def merge(self, other: CatalogueMetric) -> None:
        """Add the users of ``other``, which is not changed.

        Raises:
            TypeError: when ``other`` is another metric.
        """
        if (type(other), other.measure, other.k) != (type(self), self.measure, self.k):
            raise TypeError(f"{self.name}: only a metric of the same measure and K can be merged into it; got {other!r}.")
        self._parts = exact_sum([*self._parts, *other._parts])
        self._weight += other._weight
        self._n_nan += other._n_nan

    def compute(self) -> float:
        """The value over all users; NaN, and a logged warning, when there are none or a score was NaN."""
        if self._n_nan:
            return undefined(self.name, f"{self._n_nan} users have NaN scores")
        if not self._weight:
            return undefined(self.name, "it has seen no user with a relevant item")
        return math.fsum(self._parts) / self._weight

    def state_dict(self) -> dict[str, Any]:
        """The sums, as tensors on the CPU: enough to go on after a stop, or to be sent to another process and merged there."""
        return {
            "parts": torch.tensor(self._parts, dtype=torch.float64),
            "weight": torch.tensor(self._weight),
            "n_nan": torch.tensor(self._n_nan),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave, in place of the present sums.

        Raises:
            ValueError: when the names are not those of :meth:`state_dict`.
        """
        if set(state) != {"parts", "weight", "n_nan"}:
            raise ValueError(f"{self.name}: its state holds 'parts', 'weight' and 'n_nan'; got {sorted(state)}. Is it another metric's?")
        self._parts, self._weight, self._n_nan = exact_sum(state["parts"].tolist()), int(state["weight"]), int(state["n_nan"])

    def _terms(self, users: RankedUsers) -> tuple[np.ndarray, np.ndarray]:
        if self.k is None:
            if users.first is None:
                raise ValueError(f"{self.name}: it needs RankedUsers.first, the places in the whole catalogue; got None.")
            first = users.first.cpu().numpy()
            return np.divide(1.0, first, out=np.zeros(len(first)), where=first > 0), np.ones(len(first))
        if users.hits.shape[1] < self.k:
            raise ValueError(f"{self.name}: the lists must have at least {self.k} places; got {users.hits.shape[1]}.")
        hits = users.hits[:, : self.k].cpu().numpy().astype(np.float64)
        return user_terms(_MEASURES[self.measure], hits, users.n_relevant.cpu().numpy())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


@named_arguments
def get_catalogue_metric(spec: str | CatalogueMetric) -> CatalogueMetric:
    """A fresh metric by name. An instance gives an empty one with its settings and is not changed.

    Args:
        spec: "recall@K", "ndcg@K", "hr@K", "hit@K", "mrr@K", "precision@K" with a whole number K >= 1, or "mrr"; in any case.

    Raises:
        ValueError: when no metric has that name; the message names the closest.
        TypeError: when ``spec`` is neither a name nor an instance.

    Example:
        >>> get_catalogue_metric("Recall@20"), get_catalogue_metric("mrr")
        (<CatalogueMetric recall@20>, <CatalogueMetric mrr>)
    """
    if isinstance(spec, CatalogueMetric):
        return spec.empty()
    if not isinstance(spec, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"A catalogue metric is a name such as 'recall@20' or a CatalogueMetric; got {spec!r}.")
    if not _is_known(spec.lower()):
        raise ValueError(_unknown(spec))
    measure, _, k = spec.lower().partition("@")
    return CatalogueMetric(measure, int(k) if k else None)


def exact_sum(values: Iterable[float]) -> list[float]:
    """A sum as a few numbers that represent it exactly; the numbers depend on the exact sum alone, not on the order of the values.

    The first is the sum rounded to a float64, the next what rounding left out, and so on until nothing is left.

    Example:
        >>> exact_sum([1.0, 2.0**-60, 2.0**-60])
        [1.0, 1.734723475976807e-18]
    """
    values, parts = list(values), list[float]()
    while part := math.fsum([*values, *(-each for each in parts)]):
        parts.append(part)
    return parts


def _is_known(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and match[1] in _MEASURES and (match[2] is not None or match[1] == "mrr")


def _unknown(name: str) -> str:
    k = re.search(r"@([1-9][0-9]*)$", name)
    options = [f"{measure}@{k[1] if k else 20}" for measure in _MEASURES]
    return f"No catalogue metric is called '{name}'. {suggest_name(name, [*options, 'mrr'])}"
