"""Numbered saves of a run in one folder. A save is complete or absent, and its files are verified when it is read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from torch_rechub.storage.files import make_folder, save_tensors, sync_folder, write_text
from torch_rechub.storage.tree import join_tree, split_tree
from torch_rechub.types import FilePath

__all__ = ["DamagedSaveError", "SaveFolder", "digest", "tensor_digest"]

logger = logging.getLogger(__name__)
FORMAT = 2  #: of the state that a run saves; raised where a save of an earlier version cannot be resumed
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


class DamagedSaveError(ValueError):
    """A save with a missing or changed file; the message names the file."""


class SaveFolder:
    """Saves ``save-00000001``, ``save-00000002``, ... A save is a folder with tensors, plain state, and a manifest of digests.

    A save is written to a temporary folder, which is renamed after all files are on disk. So a folder named ``save-...`` is complete. The
    digest of each file detects later changes, such as a flipped bit. Reading never executes code: no file is a pickle.

    Args:
        folder: the folder of the saves, created by the first save.
    """

    def __init__(self, folder: FilePath) -> None:
        self.folder = Path(folder)

    def names(self) -> list[str]:
        """The names of the existing saves, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if re.fullmatch(r"save-\d{8}", entry.name))

    def write(self, state: Any, about: Mapping[str, Any]) -> str:
        """Write a save of a tree of tensors and plain values; see :meth:`write_parts`."""
        return self.write_parts(*split_tree(state), about)

    def write_parts(self, plain: Any, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
        """Write a save from the two parts of a tree that :func:`~torch_rechub.storage.tree.split_tree` returns.

        Args:
            plain: the plain values of the tree.
            tensors: the tensors of the tree.
            about: further plain values for the manifest. ``run`` is the id of the run, see :meth:`prune`.

        Returns:
            The name of the save.

        Raises:
            OSError: naming the file that could not be written; older saves are not changed.
        """
        make_folder(self.folder)
        names = self.names()
        name = f"save-{int(names[-1][5:]) + 1 if names else 1:08d}"
        temporary = self.folder / f"{name}.{secrets.token_hex(4)}.tmp"
        try:
            temporary.mkdir()
            save_tensors(temporary / TENSORS, tensors)
            write_text(temporary / STATE, json.dumps(plain))
            digests = {file: digest(temporary / file) for file in (TENSORS, STATE)}
            write_text(temporary / MANIFEST, _sealed({"format": FORMAT, "files": digests, **about}))
            os.rename(temporary, self.folder / name)
            sync_folder(self.folder)
        except OSError as error:
            raise OSError(error.errno, f"could not be saved: {error.strerror}. Older saves are intact", str(self.folder / name)) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return name

    def read(self, name: str) -> Any:
        """The state of one save.

        Raises:
            DamagedSaveError: naming the file, when it is missing or was changed.
        """
        folder = self.folder / name
        expected = self.manifest(name)["files"]
        for file in (TENSORS, STATE):
            try:
                actual = digest(folder / file)
            except OSError as error:
                raise DamagedSaveError(f"{folder / file} cannot be read: {error.strerror}.") from error
            if actual != expected[file]:
                raise DamagedSaveError(f"{folder / file} is damaged: its content was changed after it was written.")
        try:
            tensors = {name: tensor.clone() for name, tensor in load_file(folder / TENSORS).items()}  # the file may be deleted later
            return join_tree(json.loads((folder / STATE).read_text()), tensors)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:  # the digests match, but this library did not write the files
            raise DamagedSaveError(f"{folder / TENSORS} and {STATE} cannot be read together: {error}.") from error

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of one save.

        Raises:
            DamagedSaveError: naming the file, when it is missing or was changed.
        """
        path = self.folder / name / MANIFEST
        try:
            text = path.read_text()
            manifest = json.loads(text)
            is_valid = text == _sealed({key: value for key, value in manifest.items() if key != "seal"})
            version = manifest["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedSaveError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
        if not is_valid:
            raise DamagedSaveError(f"{path} is damaged: its content was changed after it was written.")
        if version != FORMAT:
            raise DamagedSaveError(f"{path} was written by another version of this package: format {version}, this one reads {FORMAT}.")
        return manifest

    def newest(self) -> Any:
        """The state of the newest valid save; None without saves. A damaged save is logged, and the save before it is used.

        Raises:
            DamagedSaveError: when all saves are damaged.
        """
        problems: list[str] = []
        for name in reversed(self.names()):
            try:
                return self.read(name)
            except DamagedSaveError as error:
                logger.warning("%s The save before it, if any, is used.", error)
                problems.append(str(error))
        if problems:
            raise DamagedSaveError(f"No save in {self.folder} is good: {' '.join(problems)} Remove the folder to start a new run.")
        return None

    def prune(self, keep: int, run: str) -> None:
        """Delete all saves except the newest ``keep`` ones of ``run``, and the temporary folders of killed processes."""
        names = self.names()
        for name in [name for name in names if name not in names[-keep:] or not self._belongs_to(name, run)]:
            temporary = self.folder / f"{name}.{secrets.token_hex(4)}.tmp"
            os.rename(self.folder / name, temporary)  # so that a partly deleted save is not read
        for temporary in self.folder.glob("save-*.tmp"):
            shutil.rmtree(temporary, ignore_errors=True)

    def _belongs_to(self, name: str, run: str) -> bool:
        try:
            return self.manifest(name).get("run") == run
        except DamagedSaveError:
            return False


def _sealed(manifest: Mapping[str, Any]) -> str:
    """The text of a manifest, with a digest of its own content."""
    seal = hashlib.blake2b(json.dumps(manifest).encode(), digest_size=16).hexdigest()
    return json.dumps({**manifest, "seal": seal}, indent=1)


def digest(path: Path) -> str:
    """BLAKE2b digest of a file's content, 128 bits."""
    hasher = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """BLAKE2b digest of the tensors' names, dtypes, shapes and content, 128 bits."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in tensors.items():
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hasher.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)  # numpy does not have every dtype
    return hasher.hexdigest()
