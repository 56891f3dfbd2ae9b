"""Generated clicks: rows, labels, and the probabilities that made the labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.basic.metric import AUC, auc_score
from torch_rechub.datasets.columns import describe_columns

__all__ = ["Clicks"]


@dataclass(frozen=True, eq=False)
class Clicks:
    """Rows with a planted truth, as :func:`torch_rechub.datasets.make_clicks` makes them.

    Args:
        x: column name -> values, float32 where dense and int32 ids where sparse.
        y: the labels, float32, 0 or 1.
        probability: the chance with which each label was drawn to be 1, float32.
        vocab_sizes: sparse column -> number of ids.

    Shape:
        every column, ``y`` and ``probability``: ``(N,)``.

    Example:
        >>> from torch_rechub.datasets import make_clicks
        >>> clicks = make_clicks(1000, n_dense=1, n_sparse=2, vocab_size=20)
        >>> train, test = clicks.split((0.8, 0.2))
        >>> len(train.y), clicks.feature_columns(embed_dim=4)[1]
        (800, [<SparseFeature sparse_0 with Embedding shape (10, 4)>, <SparseFeature sparse_1 with Embedding shape (10, 4)>])
    """

    x: dict[str, np.ndarray]
    y: np.ndarray
    probability: np.ndarray
    vocab_sizes: Mapping[str, int]

    @cached_property
    def best_auc(self) -> float:
        """The AUC of the true probabilities on these very labels; NaN where all labels are one class.

        No ranking does better in expectation. On one finite draw a model may by luck, which :attr:`expected_best_auc` lets one judge.
        """
        return auc_score(self.y, self.probability)

    @cached_property
    def expected_best_auc(self) -> float:
        r"""The AUC of the true probabilities over all labels that could have been drawn: its expectation, to order 1/N.

        .. math:: \frac{\sum_{i \ne j} p_i (1 - p_j) \, [p_i > p_j]}{\sum_{i \ne j} p_i (1 - p_j)} \quad\text{(equal ones count half)}

        It is the ratio of the expected numbers of rightly ranked pairs and of pairs; AUC is the ratio itself.
        """
        p = self.probability.astype(np.float64)
        once_each_way = np.repeat([1.0, 0.0], len(p))  # every row is positive with weight p and negative with the rest
        area = AUC().area(once_each_way, np.tile(p, 2), weight=np.concatenate([p, 1 - p]))
        pairs, with_itself = p.sum() * (1 - p).sum(), (p * (1 - p)).sum()
        return float((area * pairs - with_itself / 2) / (pairs - with_itself)) if len(p) > 1 else math.nan

    def feature_columns(self, embed_dim: int | None = 16) -> tuple[list[DenseFeature], list[SparseFeature]]:
        """The features a model is made from: ``(dense, sparse)``.

        Args:
            embed_dim: width of every embedding; None takes each column's automatic width.
        """
        return describe_columns([name for name in self.x if name not in self.vocab_sizes], self.vocab_sizes, embed_dim)

    def split(self, ratios: Sequence[float] = (0.8, 0.1, 0.1)) -> tuple[Clicks, ...]:
        """Consecutive parts, views of these rows and not copies. Rows are independent, so order says nothing.

        Args:
            ratios: the share of each part; together 1.

        Raises:
            ValueError: when the shares are not positive, do not add up to 1, or leave a part without rows.
        """
        if not all(ratio > 0 for ratio in ratios) or not math.isclose(math.fsum(ratios), 1, abs_tol=1e-6):
            raise ValueError(f"split: ratios must be positive and add up to 1; got {tuple(ratios)}.")
        ends = [round(len(self.y) * math.fsum(ratios[:n])) for n in range(len(ratios))] + [len(self.y)]
        if any(low >= high for low, high in pairwise(ends)):
            raise ValueError(f"split: every part needs a row; {len(self.y)} rows do not give that for {tuple(ratios)}. Make more rows.")
        return tuple(self._rows(slice(low, high)) for low, high in pairwise(ends))

    def _rows(self, rows: slice) -> Clicks:
        x = {name: values[rows] for name, values in self.x.items()}
        return replace(self, x=x, y=self.y[rows], probability=self.probability[rows])
