"""An old import path: the saves of a run are read in :mod:`torch_rechub.storage`."""

from torch_rechub.storage.saves import DamagedSaveError, SaveFolder, digest, tensor_digest

__all__ = ["DamagedSaveError", "SaveFolder", "digest", "tensor_digest"]
