"""The names of ``torch_rechub.utils.data`` in the existing package, re-exported from :mod:`torch_rechub.data`."""

from torch_rechub.basic.features import get_auto_embedding_dim
from torch_rechub.data import (
    DataGenerator,
    MatchDataGenerator,
    PredictDataset,
    TorchDataset,
    array_replace_with_dict,
    create_seq_features,
    df_to_dict,
    generate_seq_feature,
    get_loss_func,
    get_metric_func,
    neg_sample,
    pad_sequences,
)

__all__ = [
    "DataGenerator",
    "MatchDataGenerator",
    "PredictDataset",
    "TorchDataset",
    "array_replace_with_dict",
    "create_seq_features",
    "df_to_dict",
    "generate_seq_feature",
    "get_auto_embedding_dim",
    "get_loss_func",
    "get_metric_func",
    "neg_sample",
    "pad_sequences",
]
