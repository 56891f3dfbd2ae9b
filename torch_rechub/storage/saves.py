"""Numbered saves of a run in one folder. A save is complete or absent, and its files are verified when it is read."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from torch_rechub.storage.disk import delete, flush_folder, make_folder, rename, sync_folder, warn_not_deleted
from torch_rechub.storage.files import save_tensors, write_text
from torch_rechub.storage.places import expand
from torch_rechub.storage.reading import MAX_JSON, UnexpectedContentError, check_shape, read_json, regular_size
from torch_rechub.storage.tree import join_tree, split_tree
from torch_rechub.types import FilePath

__all__ = ["DamagedSaveError", "SaveFolder", "digest", "tensor_digest"]

logger = logging.getLogger(__name__)
FORMAT = 4  #: of the state that a run saves; raised where a save of an earlier version cannot be resumed
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
SAVE = re.compile(r"save-([0-9]{8,18})")
TEMPORARY = re.compile(r"save-[0-9]{8,18}\.[0-9a-f]{8}\.tmp")
MAX_MANIFEST = 1 << 20  #: bytes
#: What a file of another shape raises where it is taken apart.
UNREADABLE = (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


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
        self.folder = expand(folder)
        self._is_durable = True  # whether the latest save was flushed to disk

    def names(self) -> list[str]:
        """The names of the existing saves, oldest first. Other names that lie in the folder, and files with a save's name, are no saves."""
        return [name for name in self._taken() if stat.S_ISDIR((self.folder / name).lstat().st_mode)]

    def _taken(self) -> list[str]:
        """The names of saves that exist, by number, whatever has them."""
        if not self.folder.is_dir():
            return []
        numbers = (SAVE.fullmatch(entry.name) for entry in self.folder.iterdir())
        return [_name(number) for number in sorted(int(match[1]) for match in numbers if match and match[0] == _name(int(match[1])))]

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
        text = json.dumps(plain)
        if len(text) > MAX_JSON:
            raise ValueError(f"The state without its tensors must have at most {MAX_JSON} bytes as JSON; it has {len(text)}. Use tensors.")
        make_folder(self.folder)
        taken = self._taken()
        name = _name(int(taken[-1][5:]) + 1 if taken else 1)
        temporary = self.folder / f"{name}.{secrets.token_hex(4)}.tmp"
        try:
            temporary.mkdir()
            save_tensors(temporary / TENSORS, tensors)
            write_text(temporary / STATE, text, sync=False)
            digests = {file: digest(temporary / file) for file in (TENSORS, STATE)}
            write_text(temporary / MANIFEST, _sealed({"format": FORMAT, "files": digests, **about}), sync=False)
            flush_folder(temporary)
            rename(temporary, self.folder / name)
        except OSError as error:
            raise OSError(error.errno, f"could not be saved: {error.strerror}. Older saves are intact", str(self.folder / name)) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._is_durable = sync_folder(self.folder)
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
                _refuse_odd_file(folder / file)
                actual = digest(folder / file)
            except OSError as error:
                raise DamagedSaveError(f"{folder / file} cannot be read: {error.strerror}.") from error
            if actual != expected[file]:
                raise DamagedSaveError(f"{folder / file} is damaged: its content was changed after it was written.")
        try:
            tensors = {name: tensor.clone() for name, tensor in load_file(folder / TENSORS).items()}  # the file may be deleted later
            return join_tree(read_json(folder / STATE, object), tensors)
        except UNREADABLE as error:  # the digests match, but this library did not write the files
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise DamagedSaveError(f"{folder / TENSORS} and {STATE} cannot be read together: {reason}.") from error

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of one save.

        Raises:
            DamagedSaveError: naming the file, when it is missing or was changed.
        """
        path = self.folder / name / MANIFEST
        try:
            manifest = read_json(path, {"format": int}, MAX_MANIFEST)
            is_valid = path.read_text() == _sealed({key: value for key, value in manifest.items() if key != "seal"})
        except (OSError, ValueError) as error:
            raise DamagedSaveError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
        if not is_valid:
            raise DamagedSaveError(f"{path} is damaged: its content was changed after it was written.")
        if manifest["format"] != FORMAT:
            version = manifest["format"]
            raise DamagedSaveError(f"{path} was written by another version of this package: format {version}, this one reads {FORMAT}.")
        try:
            check_shape(manifest, {"files": {TENSORS: str, STATE: str}})
        except UnexpectedContentError as error:
            raise DamagedSaveError(f"{path} was not written by this package: {error}.") from error
        return manifest

    def newest(self, use: Callable[[Any], None] | None = None) -> Any:
        """The state of the newest valid save; None without saves. A damaged save is logged, and the save before it is used.

        Args:
            use: called with the state; raises UnexpectedContentError, and has changed nothing, where it cannot be used.

        Raises:
            DamagedSaveError: when all saves are damaged.
        """
        problems: list[str] = []
        for name in reversed(self.names()):
            try:
                state = self.read(name)
                if use is not None:
                    use(state)
                return state
            except (DamagedSaveError, UnexpectedContentError) as error:
                problem = str(error) if isinstance(error, DamagedSaveError) else f"{self.folder / name / STATE} cannot be used: {error}."
                logger.warning("%s The save before it, if any, is used.", problem)
                problems.append(problem)
        if problems:
            raise DamagedSaveError(f"No save in {self.folder} is good: {' '.join(problems)} Remove the folder to start a new run.")
        return None

    def prune(self, keep: int, run: str) -> None:
        """Delete all saves except the newest ``keep`` ones of ``run``, and the temporary folders of killed processes.

        A failure to delete is logged only. Nothing is deleted while the newest save may not be on disk.
        """
        if not self._is_durable:
            return
        names = self.names()
        for name in [name for name in names if name not in names[-keep:] or not self._belongs_to(name, run)]:
            temporary = self.folder / f"{name}.{secrets.token_hex(4)}.tmp"
            try:
                rename(self.folder / name, temporary)  # so that a partly deleted save is not read
            except OSError as error:
                warn_not_deleted(self.folder / name, error)
        for entry in [entry for entry in self.folder.iterdir() if TEMPORARY.fullmatch(entry.name)]:
            delete(entry, folder=True)

    def _belongs_to(self, name: str, run: str) -> bool:
        try:
            return self.manifest(name).get("run") == run
        except DamagedSaveError:
            return False


def _refuse_odd_file(path: Path) -> None:
    """Refuse what this library does not write, before all of it is read: no regular file, or one whose size cannot be right."""
    size = regular_size(path)
    if path.name == STATE and size > MAX_JSON:
        raise DamagedSaveError(f"{path} is damaged: it has more than {MAX_JSON} bytes.")
    try:
        if path.name == TENSORS:
            with safe_open(path, framework="pt"):  # compares the size with the tensors that the header lists
                pass
    except SafetensorError as error:
        raise DamagedSaveError(f"{path} is damaged: {error}.") from error


def _name(number: int) -> str:
    return f"save-{number:08d}"


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
        hasher.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)  # numpy does not have every dtype
    return hasher.hexdigest()
