"""Reading and writing of the library's own files: atomic writes, checked reads, numbered saves with digests, the k best weights, locks."""

from torch_rechub.storage.background import Background
from torch_rechub.storage.best_files import BestFiles
from torch_rechub.storage.disk import make_folder
from torch_rechub.storage.files import append_line, refuse_obstacle, save_safetensors, save_weights, write_figure, write_file, write_text
from torch_rechub.storage.likeness import check_like
from torch_rechub.storage.lock import FolderInUseError, FolderLock, FolderMark
from torch_rechub.storage.places import absolute, absolute_as_given, as_folder, expand, expand_address, folder_address
from torch_rechub.storage.reading import FINITE, NATURAL, REAL, TENSORS, Rule, UnexpectedContentError, check_shape
from torch_rechub.storage.saves import DamagedSaveError, SaveFolder, digest, tensor_digest
from torch_rechub.storage.tree import join_tree, split_tree

__all__ = [
    "Background",
    "BestFiles",
    "DamagedSaveError",
    "FINITE",
    "FolderInUseError",
    "FolderLock",
    "FolderMark",
    "NATURAL",
    "REAL",
    "TENSORS",
    "Rule",
    "SaveFolder",
    "UnexpectedContentError",
    "absolute",
    "absolute_as_given",
    "as_folder",
    "append_line",
    "check_like",
    "check_shape",
    "digest",
    "expand",
    "expand_address",
    "folder_address",
    "join_tree",
    "make_folder",
    "refuse_obstacle",
    "save_safetensors",
    "save_weights",
    "split_tree",
    "tensor_digest",
    "write_figure",
    "write_file",
    "write_text",
]
