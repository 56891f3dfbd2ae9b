"""Checks all values of a table once, before the first step. An error names the feature, the row, the value and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch.checks import check_features, check_labels, rows_numbered_by
from torch_rechub.basic.features import Feature, SequenceFeature
from torch_rechub.data.table import Table

__all__ = ["check_padding", "check_table"]


@named_arguments
def check_table(table: Table, features: Sequence[Feature], binary_labels: bool = True) -> None:
    """Check that a model of ``features`` can be trained on ``table``. Errors number the rows as the table that it was taken from.

    Args:
        table: the rows to check, with their labels and weights, if any.
        features: the features that the model reads; other columns are not checked.
        binary_labels: whether labels must lie in [0, 1]; otherwise they must be finite.

    Raises:
        ValueError: when there is no row, a feature is missing or of the wrong shape, an id is not an integer, is negative or is
            outside the vocabulary, a dense value or a label is not finite, or a label lies outside [0, 1].

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> check_table(Table.from_columns({"city": [3, 25]}, y=[0, 1]), [SparseFeature("city", vocab_size=20)])
        Traceback (most recent call last):
        ValueError: SparseFeature 'city': ids must be < vocab_size=20; got 25 at row 1. Use vocab_size=26 or re-encode from 0.
    """
    if len(table) == 0:
        raise ValueError("The data set must have at least one row; got none. Check the filter or the split_ratio that made it.")
    check_padding(table, features)
    with rows_numbered_by(table.row_numbers):
        check_features(table.x, features, rows_of="")
        if table.y is not None:
            check_labels(table.y, table.weight, binary=binary_labels, rows_of="")


def check_padding(table: Table, features: Sequence[Feature]) -> None:
    """Check that features know the 0 that pads lists of different lengths.

    Raises:
        ValueError: naming a sequence whose padding id is another one, or which has none.
    """
    for feature in features:
        if isinstance(feature, SequenceFeature) and feature.name in table.lengths and feature.padding_idx != 0:
            raise ValueError(
                f"SequenceFeature '{feature.name}': its lists have different lengths and are padded with 0, so padding_idx must be 0; got "
                f"{feature.padding_idx}. Use padding_idx=0 and ids from 1, or pad the column with another id by pad_sequences."
            )
