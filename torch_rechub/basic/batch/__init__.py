"""What flows: a batch in its parts, many columns packed into few tensors, and the validation of their values."""

from torch_rechub.basic.batch.checks import check_features, check_labels
from torch_rechub.basic.batch.contents import column_names, row_count
from torch_rechub.basic.batch.packed import Layout, PackedFeatures
from torch_rechub.basic.batch.parts import Parts, at_least_tiny, move_to, split_batch

__all__ = [
    "Layout",
    "PackedFeatures",
    "Parts",
    "at_least_tiny",
    "check_features",
    "check_labels",
    "column_names",
    "move_to",
    "row_count",
    "split_batch",
]
