"""Generated clicks: rows, labels, and the true probabilities of the labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.basic.metric import AUC, auc_score
from torch_rechub.datasets.columns import describe_columns

__all__ = ["Clicks"]


@named_arguments
@dataclass(frozen=True, eq=False)
class Clicks:
    """Rows whose true click probabilities are known, as :func:`torch_rechub.datasets.make_clicks` generates them.

    Args:
        x: column name -> values; float32 for dense columns, int32 ids for sparse columns.
        y: the labels, float32, 0 or 1.
        probability: the true probability that the label is 1, float32.
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

    def __repr__(self) -> str:
        n_sparse, n_column = len(self.vocab_sizes), len(self.x)
        return f"Clicks({len(self.y):,} rows, {n_column - n_sparse} dense columns, {n_sparse} sparse columns, {self.y.mean():.1%} positive)"

    @cached_property
    def best_auc(self) -> float:
        """The AUC of the true probabilities on the labels; NaN if all labels are of one class.

        No other ranking has a higher AUC in expectation. On a single sample a model may exceed it by chance; compare
        :attr:`expected_best_auc`.
        """
        return auc_score(self.y, self.probability)

    @cached_property
    def expected_best_auc(self) -> float:
        r"""The expectation of :attr:`best_auc` over the random labels, up to an error of order 1/N.

        .. math:: \frac{\sum_{i \ne j} p_i (1 - p_j) \, [p_i > p_j]}{\sum_{i \ne j} p_i (1 - p_j)} \quad\text{(ties count half)}

        It is the ratio of two expectations: of the number of correctly ordered pairs, and of the number of pairs.
        """
        p = self.probability.astype(np.float64)
        labels = np.repeat([1.0, 0.0], len(p))  # every row is a positive of weight p and a negative of weight 1 - p
        area = AUC().area(labels, np.tile(p, 2), weight=np.concatenate([p, 1 - p]))
        all_pairs, self_pairs = p.sum() * (1 - p).sum(), (p * (1 - p)).sum()  # self: of a row with itself, which is a tie
        return float((area * all_pairs - self_pairs / 2) / (all_pairs - self_pairs)) if len(p) > 1 else math.nan

    def feature_columns(self, embed_dim: int | None = 16) -> tuple[list[DenseFeature], list[SparseFeature]]:
        """The features of a model: ``(dense, sparse)``.

        Args:
            embed_dim: the embedding dimension; None uses the automatic dimension of each column.
        """
        return describe_columns([name for name in self.x if name not in self.vocab_sizes], self.vocab_sizes, embed_dim)

    def split(self, ratios: Sequence[float] = (0.8, 0.1, 0.1)) -> tuple[Clicks, ...]:
        """Split into consecutive subsets, which are views. The rows are independent, so their order does not matter.

        Args:
            ratios: the share of each subset, which must sum to 1.

        Raises:
            ValueError: when the shares are not positive, do not sum to 1, or leave a subset without rows.
        """
        if not all(ratio > 0 for ratio in ratios) or not math.isclose(math.fsum(ratios), 1, abs_tol=1e-6):
            raise ValueError(f"split: ratios must be positive and sum to 1; got {tuple(ratios)}.")
        ends = [round(len(self.y) * math.fsum(ratios[:n])) for n in range(len(ratios))] + [len(self.y)]
        if any(low >= high for low, high in pairwise(ends)):
            raise ValueError(f"split: every subset needs a row; got {len(self.y)} rows for ratios={tuple(ratios)}. Generate more rows.")
        return tuple(self._subset(slice(low, high)) for low, high in pairwise(ends))

    def _subset(self, rows: slice) -> Clicks:
        x = {name: values[rows] for name, values in self.x.items()}
        return replace(self, x=x, y=self.y[rows], probability=self.probability[rows])
