"""Generation of clicks with known probabilities, so that the AUC of a model can be compared with the best possible AUC."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.datasets.click_world import LABELS, N_CALIBRATION, LogitSum, World, sigmoid, solve_bias
from torch_rechub.datasets.clicks import Clicks

__all__ = ["make_clicks"]


@named_arguments
def make_clicks(
    n_row: int,
    n_dense: int = 13,
    n_sparse: int = 26,
    vocab_size: int | Sequence[int] = 100_000,
    *,
    n_factor: int = 8,
    zipf: float = 1.1,
    positive_rate: float = 0.25,
    linear_std: float = 1.0,
    pairwise_std: float = 1.0,
    seed: int = 0,
    sample_seed: int = 0,
) -> Clicks:
    r"""Clicks drawn from a factorization machine over standard normal numbers and Zipf ids.

    .. math:: p(x) = \sigma\Big(w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle x_i x_j\Big)

    Rendle, *Factorization Machines*, ICDM 2010, eq. 1; ``x_i`` is the value of a dense column, and 1 for the id of a sparse column.
    Weights and factors are normal. ``w_0`` is set so that the mean probability is ``positive_rate`` (measured on 65,536 separate rows).
    The r-th most popular id of a column has a probability proportional to ``r ** -zipf``.

    The same arguments give the same bits (with one version of NumPy). With a larger ``n_row``, the first rows are the same.

    Args:
        n_row: number of rows.
        n_dense: number of dense columns ``dense_0``, ``dense_1``, ...
        n_sparse: number of sparse columns ``sparse_0``, ``sparse_1``, ...
        vocab_size: total number of ids of *all* sparse columns, divided evenly (the first columns get the remainder);
            or a list with the number of ids of each column.
        n_factor: number of factors of each id.
        zipf: exponent of the popularity; with 0 all ids are equally popular.
        positive_rate: the share of positive labels, between 0 and 1.
        linear_std: standard deviation of the linear term of the logit, on average over seeds; 0 leaves it out.
        pairwise_std: standard deviation of the pairwise term, likewise.
        seed: seed of the parameters and the popularities.
        sample_seed: seed of the rows. Two calls that differ only in it give independent rows of the same distribution.

    Raises:
        ValueError: when an argument is out of its range.

    Example:
        >>> clicks = make_clicks(10_000, n_dense=2, n_sparse=3, vocab_size=100)
        >>> list(clicks.x), clicks.vocab_sizes["sparse_0"]
        (['dense_0', 'dense_1', 'sparse_0', 'sparse_1', 'sparse_2'], 34)
        >>> 0.5 < clicks.best_auc < 1
        True
    """
    _check_at_least(1, n_row=n_row, n_factor=n_factor)
    _check_at_least(0, n_dense=n_dense, n_sparse=n_sparse, zipf=zipf, linear_std=linear_std, pairwise_std=pairwise_std, seed=seed)
    if not 0 < positive_rate < 1:
        raise ValueError(f"make_clicks: positive_rate must be between 0 and 1, both excluded; got {positive_rate}.")
    if not 0 <= sample_seed < 2**32:
        raise ValueError(f"make_clicks: sample_seed must be >= 0 and < 2**32; got {sample_seed}.")
    vocab_sizes = _divide_vocabulary(vocab_size, n_sparse)
    _check_at_least(1, columns=n_dense + n_sparse)
    world = World(seed, sample_seed, n_dense + n_sparse, n_factor, zipf, linear_std, pairwise_std)
    x, logit = _draw_rows(world, n_row, n_dense, vocab_sizes)
    bias = solve_bias(logit[:N_CALIBRATION], positive_rate)
    probability = sigmoid(logit[N_CALIBRATION:] + np.float32(bias))
    y = (world.random(LABELS).random(n_row) < probability).astype(np.float32)
    return Clicks(x, y, probability, {f"sparse_{index}": size for index, size in enumerate(vocab_sizes)})


def _draw_rows(world: World, n_row: int, n_dense: int, vocab_sizes: Sequence[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns, and the logits; the logits of the calibration rows are first."""
    logit = LogitSum(N_CALIBRATION + n_row, world.n_factor)
    x: dict[str, np.ndarray] = {}
    for column in range(n_dense):
        values = world.draw_dense(column, n_row)
        logit.add(world.parameters(column, 1), np.zeros(len(values), np.int32), scale=values)
        x[f"dense_{column}"] = values[N_CALIBRATION:].copy()
    for index, size in enumerate(vocab_sizes):
        ids = world.draw_ids(n_dense + index, size, n_row)
        logit.add(world.parameters(n_dense + index, size), ids)
        x[f"sparse_{index}"] = ids[N_CALIBRATION:].copy()
    return x, logit.total()


def _divide_vocabulary(vocab_size: int | Sequence[int], n_sparse: int) -> list[int]:
    """The vocabulary size of each sparse column."""
    if isinstance(vocab_size, Sequence):
        if len(vocab_size) != n_sparse or min(vocab_size, default=1) < 1:
            raise ValueError(f"make_clicks: vocab_size as a list needs n_sparse={n_sparse} numbers >= 1; got {list(vocab_size)}.")
        return list(vocab_size)
    if vocab_size < n_sparse:
        raise ValueError(
            f"make_clicks: vocab_size is the total of all sparse columns and must be >= n_sparse={n_sparse}; got {vocab_size}. "
            "Use a larger total, or a list with the size of each column."
        )
    return [vocab_size // n_sparse + (index < vocab_size % n_sparse) for index in range(n_sparse)]


def _check_at_least(minimum: int, **arguments: float) -> None:
    for name, value in arguments.items():
        if not (value >= minimum and math.isfinite(value)):
            raise ValueError(f"make_clicks: {name} must be >= {minimum}; got {value}.")
