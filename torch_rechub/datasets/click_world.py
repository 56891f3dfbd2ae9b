"""The distribution of generated clicks: the popularity and the parameters of each id, and the logit of each row.

Popularity and parameters are functions of ``(seed, column number)`` and are drawn when their column is processed. So the memory depends
on the largest vocabulary and not on the sum of the vocabularies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["LogitSum", "World", "sigmoid", "solve_bias"]

#: The purposes of random numbers; each purpose has its own independent random stream.
PARAMETERS, POPULARITY, CALIBRATION, ROWS, LABELS = range(5)
#: The bias is computed from this number of separate rows, so that it does not depend on the requested rows.
N_CALIBRATION = 1 << 16
CHUNK_SIZE = 1 << 16


class LogitSum:
    r"""The logits of a factorization machine, summed column by column.

    .. math:: \hat y(x) = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j

    Rendle, *Factorization Machines*, ICDM 2010, eq. 1, with the sum over pairs as half of ``|sum v x|^2 - sum |v x|^2``
    (lemma 3.1). The bias ``w_0`` is not included.

    Example:
        >>> logit = LogitSum(n_row=1, n_factor=1)
        >>> logit.add(np.array([[0.5, 2.0]]), np.array([0]))
        >>> logit.add(np.array([[0.25, 3.0]]), np.array([0]))
        >>> logit.total()
        array([6.75], dtype=float32)
    """

    def __init__(self, n_row: int, n_factor: int) -> None:
        self.sums = np.zeros((n_row, 1 + n_factor), np.float32)
        self.squares = np.zeros(n_row, np.float32)

    def add(self, parameters: np.ndarray, ids: np.ndarray, scale: np.ndarray | None = None) -> None:
        """Add the contribution of one column to every row.

        Args:
            parameters: the weight and the factors of each id.
            ids: the id of each row.
            scale: the value ``x`` of the column in each row; None is 1 in all rows.

        Shape:
            parameters ``(V, 1 + K)``, ids and scale ``(N,)``.
        """
        for start in range(0, len(ids), CHUNK_SIZE):
            rows = slice(start, start + CHUNK_SIZE)
            terms = parameters[ids[rows]]  # (n, 1 + K)
            if scale is not None:
                terms = terms * scale[rows, None]
            self.sums[rows] += terms
            self.squares[rows] += np.square(terms[:, 1:]).sum(axis=1)

    def total(self) -> np.ndarray:
        """The logits without the bias, ``(N,)``."""
        return self.sums[:, 0] + (np.square(self.sums[:, 1:]).sum(axis=1) - self.squares) / 2


@dataclass(frozen=True)
class World:
    """The settings of a click distribution; its parameters are drawn column by column.

    Args:
        seed: seed of the parameters and the popularities.
        sample_seed: seed of the rows and the labels, below 2 ** 32.
        n_column: number of columns, dense and sparse.
        n_factor: number of factors K of each id.
        zipf: exponent of the popularity of ids.
        linear_std: standard deviation of the linear term of the logits, on average over seeds.
        pairwise_std: standard deviation of the pairwise term, likewise.

    Example:
        >>> world = World(seed=0, sample_seed=0, n_column=2, n_factor=3, zipf=1.1, linear_std=1.0, pairwise_std=1.0)
        >>> world.parameters(column=1, n_id=5).shape
        (5, 4)
    """

    seed: int
    sample_seed: int
    n_column: int
    n_factor: int
    zipf: float
    linear_std: float
    pairwise_std: float

    def random(self, purpose: int, column: int = 0) -> np.random.Generator:
        """A new generator for one purpose; only those of rows and labels depend on ``sample_seed``."""
        sample = self.sample_seed if purpose in (ROWS, LABELS) else 0
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(purpose, sample, column)))

    def parameters(self, column: int, n_id: int) -> np.ndarray:
        """The weight and the factors of every id of a column, ``(n_id, 1 + K)``.

        With ``F`` columns the linear term has the variance ``F * std(w)^2``, the pairwise term ``F (F - 1) / 2 * K * std(v)^4``.
        """
        parameters = self.random(PARAMETERS, column).standard_normal((n_id, 1 + self.n_factor), dtype=np.float32)
        n_pair = max(1, self.n_column * (self.n_column - 1) // 2)
        parameters[:, 0] *= self.linear_std / math.sqrt(self.n_column)
        parameters[:, 1:] *= math.sqrt(self.pairwise_std / math.sqrt(n_pair * self.n_factor))
        return parameters

    def draw_dense(self, column: int, n_row: int) -> np.ndarray:
        """Standard normal numbers: of the calibration rows, then of ``n_row`` further rows."""
        sizes = ((CALIBRATION, N_CALIBRATION), (ROWS, n_row))
        return np.concatenate([self.random(purpose, column).standard_normal(n, dtype=np.float32) for purpose, n in sizes])

    def draw_ids(self, column: int, vocab_size: int, n_row: int) -> np.ndarray:
        """Zipf ids: of the calibration rows, then of ``n_row`` further rows.

        The r-th most popular id has the probability ``r ** -zipf / sum(s ** -zipf)``, ``s = 1 .. vocab_size``; ids are drawn by
        inversion. Ranks are assigned to ids at random, so that small ids are not the popular ones.
        """
        cumulative = np.cumsum(np.arange(1, vocab_size + 1, dtype=np.float64) ** -self.zipf)
        cumulative /= cumulative[-1]
        id_of_rank = self.random(POPULARITY, column).permutation(np.arange(vocab_size, dtype=np.int32))
        sizes = ((CALIBRATION, N_CALIBRATION), (ROWS, n_row))
        return np.concatenate(
            [id_of_rank[np.searchsorted(cumulative, self.random(purpose, column).random(n), side="right")] for purpose, n in sizes]
        )


def solve_bias(logit: np.ndarray, rate: float) -> float:
    """The bias for which the mean of ``sigmoid(logit + bias)`` is ``rate``, by bisection.

    Example:
        >>> round(solve_bias(np.array([1.0, 3.0]), 0.5), 6)
        -2.0
    """
    logit = logit.astype(np.float64)
    target_logit = math.log(rate / (1 - rate))
    low, high = target_logit - float(logit.max()), target_logit - float(logit.min())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logit + middle).mean() < rate else (low, middle)
    return (low + high) / 2


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-logit))``, computed by the hyperbolic tangent, which does not overflow.

    Example:
        >>> sigmoid(np.array([-1000.0, 0.0]))
        array([0. , 0.5])
    """
    return (np.tanh(logit / 2) + 1) / 2
