"""The world behind generated clicks: how popular each id is, what it is worth, and how it all adds up to a logit.

Whatever the world holds is a function of ``(seed, column number)`` and is drawn when its column is at work, so that memory follows the
largest vocabulary and not their sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["LogitSum", "World", "sigmoid", "solve_bias"]

#: What random numbers are for: numbers of different purposes have nothing to do with each other.
WORTH, POPULARITY, CALIBRATION, ROWS, LABELS = range(5)
#: The bias is set on this many rows of the world's own, so that it does not depend on which rows are asked for.
N_CALIBRATION = 1 << 16
ROWS_AT_ONCE = 1 << 16


class LogitSum:
    r"""The logits of a factorization machine, added up column by column.

    .. math:: \hat y(x) = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j

    Rendle, *Factorization Machines*, ICDM 2010, eq. 1, with the pairs as half of ``|sum v x|^2 - sum |v x|^2`` (lemma 3.1). The bias
    ``w_0`` is left out.

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

    def add(self, worth: np.ndarray, ids: np.ndarray, scale: np.ndarray | None = None) -> None:
        """Add one column's part of every row.

        Args:
            worth: the weight and the factor of each id.
            ids: the id of each row.
            scale: what the column's ``x`` is in each row; 1 where it is not given.

        Shape:
            worth ``(V, 1 + K)``, ids and scale ``(N,)``.
        """
        for start in range(0, len(ids), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            part = worth[ids[rows]]  # (n, 1 + K)
            if scale is not None:
                part = part * scale[rows, None]
            self.sums[rows] += part
            self.squares[rows] += np.square(part[:, 1:]).sum(axis=1)

    def total(self) -> np.ndarray:
        """The logits without the bias, ``(N,)``."""
        return self.sums[:, 0] + (np.square(self.sums[:, 1:]).sum(axis=1) - self.squares) / 2


@dataclass(frozen=True)
class World:
    """The scale of a truth, whose numbers are drawn when a column asks for them.

    Args:
        seed: names the world.
        sample_seed: names the rows that are drawn in it, below 2 ** 32.
        n_column: number of columns, dense and sparse.
        n_factor: length of a factor.
        zipf: exponent of the popularity of ids.
        linear_std: standard deviation of the linear part of the logits, on average over worlds.
        pairwise_std: the same for the part of the pairs.

    Example:
        >>> world = World(seed=0, sample_seed=0, n_column=2, n_factor=3, zipf=1.1, linear_std=1.0, pairwise_std=1.0)
        >>> world.worth(column=1, n_id=5).shape
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
        """Random numbers for one purpose, the same ones every time; only rows and labels depend on ``sample_seed``."""
        sample = self.sample_seed if purpose in (ROWS, LABELS) else 0
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(purpose, sample, column)))

    def worth(self, column: int, n_id: int) -> np.ndarray:
        """The weight and the factor of every id of a column, ``(n_id, 1 + K)``.

        With ``F`` columns the linear part has the variance ``F * std(w)^2``, the pairs ``F (F - 1) / 2 * K * std(v)^4``.
        """
        worth = self.random(WORTH, column).standard_normal((n_id, 1 + self.n_factor), dtype=np.float32)
        n_pair = max(1, self.n_column * (self.n_column - 1) // 2)
        worth[:, 0] *= self.linear_std / math.sqrt(self.n_column)
        worth[:, 1:] *= math.sqrt(self.pairwise_std / math.sqrt(n_pair * self.n_factor))
        return worth

    def draw_dense(self, column: int, n_row: int) -> np.ndarray:
        """Standard normal numbers: those of the calibration rows, then ``n_row`` more."""
        parts = ((CALIBRATION, N_CALIBRATION), (ROWS, n_row))
        return np.concatenate([self.random(purpose, column).standard_normal(n, dtype=np.float32) for purpose, n in parts])

    def draw_ids(self, column: int, vocab_size: int, n_row: int) -> np.ndarray:
        """Zipf ids: those of the calibration rows, then ``n_row`` more.

        The r-th most popular id has the share ``r ** -zipf / sum(s ** -zipf)``, ``s = 1 .. vocab_size``, by inversion. Which id that
        is comes from a shuffle, so that small ids are not the popular ones.
        """
        cumulative = np.cumsum(np.arange(1, vocab_size + 1, dtype=np.float64) ** -self.zipf)
        cumulative /= cumulative[-1]
        id_of_rank = self.random(POPULARITY, column).permutation(np.arange(vocab_size, dtype=np.int32))
        parts = ((CALIBRATION, N_CALIBRATION), (ROWS, n_row))
        return np.concatenate(
            [id_of_rank[np.searchsorted(cumulative, self.random(purpose, column).random(n), side="right")] for purpose, n in parts]
        )


def solve_bias(logit: np.ndarray, rate: float) -> float:
    """The bias for which the mean of ``sigmoid(logit + bias)`` is ``rate``, by bisection.

    Example:
        >>> round(solve_bias(np.array([1.0, 3.0]), 0.5), 6)
        -2.0
    """
    logit = logit.astype(np.float64)
    at_rate = math.log(rate / (1 - rate))
    low, high = at_rate - float(logit.max()), at_rate - float(logit.min())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logit + middle).mean() < rate else (low, middle)
    return (low + high) / 2


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-logit))``, as a hyperbolic tangent, which does not overflow.

    Example:
        >>> sigmoid(np.array([-1000.0, 0.0]))
        array([0. , 0.5])
    """
    return (np.tanh(logit / 2) + 1) / 2
