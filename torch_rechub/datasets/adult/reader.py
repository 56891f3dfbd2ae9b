"""UCI Adult: prediction of whether a person earns more than 50K a year. Its 48,842 rows are embedded in the package.

Source: Becker and Kohavi, *Adult*, UCI Machine Learning Repository, 1996, doi 10.24432/C5XW20, CC BY 4.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.datasets.columns import Split, describe_columns

__all__ = ["ADULT_FILE", "CATEGORICAL", "MISSING", "NUMERIC", "TEST", "TRAIN", "VALIDATION", "Adult", "content_digest", "load_adult"]

ADULT_FILE = Path(__file__).with_name("adult.npz")
NUMERIC = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
CATEGORICAL = ("workclass", "education", "marital_status", "occupation", "relationship", "race", "sex", "native_country")
#: Most rows hold 0 and the others hold thousands, so the logarithm is taken.
LOGARITHMIC = ("capital_gain", "capital_loss")
#: Numeric columns with a nonlinear effect, which are added as bucket ids. (The buckets of ``education_num`` are those of ``education``.)
BUCKETED = ("age", "capital_gain", "capital_loss", "hours_per_week")
MISSING = "?"
TRAIN, VALIDATION, TEST = range(3)


@named_arguments
@dataclass(frozen=True, eq=False)
class Adult:
    """The rows of Adult in three splits, with the vocabularies of their ids.

    Args:
        train: 90 % of the published train file, 29,305 rows.
        val: the other 10 %, 3,256 rows, selected at random once and stored with the data.
        test: the published test file, 16,281 rows.
        dense: names of the dense columns.
        sparse: names of the sparse columns.
        vocabularies: sparse column -> the string of each id; id 0 is "?", for missing and unknown values.

    Example:
        >>> adult = load_adult()
        >>> [len(split.y) for split in (adult.train, adult.val, adult.test)]
        [29305, 3256, 16281]
        >>> adult.vocabularies["sex"]
        ('?', 'Female', 'Male')
    """

    train: Split
    val: Split
    test: Split
    dense: tuple[str, ...]
    sparse: tuple[str, ...]
    vocabularies: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("train", "val", "test"))
        return f"Adult({splits}, {len(self.dense)} dense columns, {len(self.sparse)} sparse columns)"

    def feature_columns(self, embed_dim: int | None = 16) -> tuple[list[DenseFeature], list[SparseFeature]]:
        """The features of a model: ``(dense, sparse)``.

        Args:
            embed_dim: the embedding dimension; None uses the automatic dimension of each column.
        """
        return describe_columns(self.dense, {name: len(self.vocabularies[name]) for name in self.sparse}, embed_dim)


@named_arguments
def load_adult() -> Adult:
    """Read the embedded Adult data: standardized dense columns, ids of strings, and bucket ids of four numeric columns.

    Means, standard deviations and bucket boundaries are computed from the train split only. The vocabularies are those of the whole data
    set, as its documentation lists them. Every distinct train value begins a bucket, because single amounts of capital gain stand for
    kinds of income and are predictive.

    Example:
        >>> x, y = load_adult().train
        >>> x["age"].dtype, x["age_bucket"].dtype, round(float(y.mean()), 3)
        (dtype('float32'), dtype('int32'), 0.241)
    """
    with np.load(ADULT_FILE, allow_pickle=False) as archive:
        stored = {name: archive[name] for name in archive.files}
    is_train = stored["split"] == TRAIN
    columns = {name: _standardize(name, stored[name], is_train) for name in NUMERIC}
    columns |= {name: stored[name].astype(np.int32) for name in CATEGORICAL}
    vocabularies = {name: tuple(stored[f"{name}.vocabulary"].tolist()) for name in CATEGORICAL}
    for name in BUCKETED:
        columns[f"{name}_bucket"], vocabularies[f"{name}_bucket"] = _bucket(stored[name], is_train)
    label = stored["label"].astype(np.float32)
    train, val, test = (_select(columns, label, stored["split"] == split) for split in (TRAIN, VALIDATION, TEST))
    return Adult(train, val, test, dense=NUMERIC, sparse=tuple(vocabularies), vocabularies=vocabularies)


def content_digest(stored: Mapping[str, np.ndarray]) -> str:
    """The sha256 of the rows as text, column by column. It does not depend on the compression of the file."""
    digest = hashlib.sha256()
    for name in (*NUMERIC, *CATEGORICAL, "label", "split"):
        values = stored[f"{name}.vocabulary"][stored[name]] if name in CATEGORICAL else stored[name]
        digest.update("\n".join([name, *map(str, values.tolist()), ""]).encode())
    return digest.hexdigest()


def _standardize(name: str, values: np.ndarray, is_train: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    if name in LOGARITHMIC:
        values = np.log1p(values)
    return ((values - values[is_train].mean()) / values[is_train].std()).astype(np.float32)


def _bucket(values: np.ndarray, is_train: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ids 1 .. n of the half-open buckets ``[low, high)`` between the distinct train values, and their names.

    Id 0 is reserved for missing values, which the numeric columns of Adult do not have. The first bucket has no lower limit.
    """
    lows = np.unique(values[is_train])
    edges = ["-inf", *map(str, lows[1:].tolist()), "inf"]
    names = tuple(f"[{low}, {high})" for low, high in pairwise(edges))
    return (np.searchsorted(lows[1:], values, side="right") + 1).astype(np.int32), (MISSING, *names)


def _select(columns: Mapping[str, np.ndarray], label: np.ndarray, is_selected: np.ndarray) -> Split:
    return Split({name: values[is_selected] for name, values in columns.items()}, label[is_selected])
