"""From tables to batches: packed tables, loaders of batches, and conversions of raw data."""

from torch_rechub.data.as_loader import as_loader
from torch_rechub.data.convert import array_replace_with_dict, df_to_dict, pa_array_to_tensor, pad_sequences
from torch_rechub.data.dataset import ParquetIterableDataset, PredictDataset, TorchDataset
from torch_rechub.data.defaults import get_loss_func, get_metric_func
from torch_rechub.data.generator import DataGenerator, MatchDataGenerator
from torch_rechub.data.loader import TableLoader
from torch_rechub.data.protocol import Loader
from torch_rechub.data.sequence import create_seq_features, generate_seq_feature, neg_sample
from torch_rechub.data.table import Table
from torch_rechub.data.validation import check_table

__all__ = [
    # loaders
    "DataGenerator",
    "Loader",
    "MatchDataGenerator",
    "Table",
    "TableLoader",
    "as_loader",
    "check_table",
    # datasets of single rows, for a torch DataLoader
    "ParquetIterableDataset",
    "PredictDataset",
    "TorchDataset",
    # conversions
    "array_replace_with_dict",
    "create_seq_features",
    "df_to_dict",
    "generate_seq_feature",
    "neg_sample",
    "pa_array_to_tensor",
    "pad_sequences",
    # defaults by task
    "get_loss_func",
    "get_metric_func",
]
