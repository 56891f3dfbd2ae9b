"""Reading and writing of the library's own files: atomic writes, numbered saves with digests, the k best weights, a background thread."""

from torch_rechub.storage.background import Background
from torch_rechub.storage.best_files import BestFiles
from torch_rechub.storage.files import append_line, make_folder, save_safetensors, save_weights, write_figure, write_file, write_text
from torch_rechub.storage.saves import DamagedSaveError, SaveFolder, digest, tensor_digest
from torch_rechub.storage.tree import join_tree, split_tree

__all__ = [
    "Background",
    "BestFiles",
    "DamagedSaveError",
    "SaveFolder",
    "append_line",
    "digest",
    "join_tree",
    "make_folder",
    "save_safetensors",
    "save_weights",
    "split_tree",
    "tensor_digest",
    "write_figure",
    "write_file",
    "write_text",
]
