"""Numbered saves of a run in one folder: each is whole or not there, each is checked before it is believed."""

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
FORMAT = 1
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


class DamagedSaveError(ValueError):
    """A save whose files are not what was written; the message names the file."""


class SaveFolder:
    """Saves ``save-00000001``, ``save-00000002``, ... A save is a folder with tensors, plain state, and a manifest of digests.

    A save is written under another name and renamed when all of it is on the disk, so one that has its name is whole; a digest of each
    file shows what has changed since (a flipped bit loads silently otherwise). Reading runs no code: there are no pickles.

    Args:
        folder: where they lie; made at the first save.
    """

    def __init__(self, folder: FilePath) -> None:
        self.folder = Path(folder)

    def names(self) -> list[str]:
        """The saves that are there, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if re.fullmatch(r"save-\d{8}", entry.name))

    def write(self, state: Any, about: Mapping[str, Any]) -> str:
        """Add a save of a tree of tensors and plain values; all else as :meth:`write_parts`."""
        return self.write_parts(*split_tree(state), about)

    def write_parts(self, plain: Any, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
        """Add a save.

        Args:
            plain: what :func:`~torch_rechub.storage.tree.split_tree` made of a tree of tensors and plain values.
            tensors: the tensors that it took out.
            about: a few plain facts for the manifest; ``run`` names the run, see :meth:`prune`.

        Returns:
            The save's name.

        Raises:
            OSError: naming the file that could not be written; the saves that were there are intact.
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
            DamagedSaveError: naming the file, when it is not what was written.
        """
        folder = self.folder / name
        expected = self.manifest(name)["files"]
        for file in (TENSORS, STATE):
            try:
                found = digest(folder / file)
            except OSError as error:
                raise DamagedSaveError(f"{folder / file} cannot be read: {error.strerror}.") from error
            if found != expected[file]:
                raise DamagedSaveError(f"{folder / file} is damaged: its content is not what was written.")
        try:
            tensors = {name: tensor.clone() for name, tensor in load_file(folder / TENSORS).items()}  # the file may go
            return join_tree(json.loads((folder / STATE).read_text()), tensors)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:  # whole, and yet not what we write
            raise DamagedSaveError(f"{folder / TENSORS} and {STATE} cannot be read together: {error}.") from error

    def manifest(self, name: str) -> dict[str, Any]:
        """What one save says of itself.

        Raises:
            DamagedSaveError: naming the file, when it is not what was written.
        """
        path = self.folder / name / MANIFEST
        try:
            text = path.read_text()
            manifest = json.loads(text)
            good = manifest["format"] == FORMAT and text == _sealed({key: value for key, value in manifest.items() if key != "seal"})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedSaveError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
        if not good:
            raise DamagedSaveError(f"{path} is damaged: its content is not what was written.")
        return manifest

    def newest(self) -> Any:
        """The state of the newest good save, or None where there is none; a damaged one is named in the log and the one before is used.

        Raises:
            DamagedSaveError: when there are saves and none is good.
        """
        problems: list[str] = []
        for name in reversed(self.names()):
            try:
                return self.read(name)
            except DamagedSaveError as error:
                logger.warning("%s The save before it is used, where there is one.", error)
                problems.append(str(error))
        if problems:
            raise DamagedSaveError(f"No save in {self.folder} is good: {' '.join(problems)} Remove the folder to start anew.")
        return None

    def prune(self, keep: int, run: str) -> None:
        """Delete all but the newest ``keep`` saves of ``run``, those of other runs, and what a killed process left unfinished."""
        names = self.names()
        for name in [name for name in names if name not in names[-keep:] or not self._is_of(name, run)]:
            doomed = self.folder / f"{name}.{secrets.token_hex(4)}.tmp"
            os.rename(self.folder / name, doomed)  # a save that loses a file is not taken for a whole one
        for left in self.folder.glob("save-*.tmp"):
            shutil.rmtree(left, ignore_errors=True)

    def _is_of(self, name: str, run: str) -> bool:
        try:
            return self.manifest(name).get("run") == run
        except DamagedSaveError:
            return False


def _sealed(manifest: Mapping[str, Any]) -> str:
    """A manifest as text, with a digest of itself."""
    seal = hashlib.blake2b(json.dumps(manifest).encode(), digest_size=16).hexdigest()
    return json.dumps({**manifest, "seal": seal}, indent=1)


def digest(path: Path) -> str:
    """BLAKE2b of a file's content, 128 bits."""
    found = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """BLAKE2b of tensors' names, types, shapes and content, 128 bits."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)  # numpy knows not every type
    return found.hexdigest()
