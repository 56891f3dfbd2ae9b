"""System calls on files and folders that file systems answer differently: what can be tried again is, what can be done without is."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch_rechub.logs import warn_once
from torch_rechub.storage.places import expand
from torch_rechub.types import FilePath

__all__ = ["delete", "flush_folder", "make_folder", "rename", "replace", "retry", "sync_file", "sync_folder"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

WAITS = (0.01, 0.05, 0.2)  #: seconds before each further try
#: A call that failed so may succeed a moment later: on network file systems, and on Windows while another program reads the file.
PASSING = {errno.EBUSY, errno.ESTALE, errno.EINTR, errno.EAGAIN, *({errno.EACCES} if os.name == "nt" else ())}
#: The file system cannot flush: CIFS, FUSE and some others answer so.
CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def retry(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function of the system, and call it again where it failed for a reason that may pass.

    Raises:
        OSError: of the last try.
    """
    for wait in WAITS:
        try:
            return function(*arguments)
        except OSError as error:
            if error.errno not in PASSING:
                raise
        time.sleep(wait)
    return function(*arguments)


def replace(source: Path, target: Path) -> None:
    """Rename a file over another one, atomically.

    Raises:
        OSError: when it was not renamed; an error after the file has its new name is none.
    """
    _rename(lambda: os.replace(source, target), source, target)


def rename(source: Path, target: Path) -> None:
    """Rename a folder to a name that is free.

    Raises:
        OSError: when it was not renamed.
    """
    _rename(lambda: os.rename(source, target), source, target)


def _rename(function: Callable[[], None], source: Path, target: Path) -> None:
    before = source.lstat()
    try:
        retry(function)
    except OSError:  # a network file system may have renamed it before the error, or before an earlier try
        with contextlib.suppress(OSError):
            if not os.path.lexists(source) and os.path.samestat(before, target.lstat()):
                return
        raise


def sync_file(descriptor: int) -> None:
    """Flush an open file to disk, where its file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def flush_folder(folder: Path) -> None:
    """Flush a folder to disk, so that the names in it are durable. Systems that cannot open or flush a folder do without.

    Raises:
        OSError: where the system could not write it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in {*CANNOT_FLUSH, errno.EACCES, errno.EPERM, errno.EISDIR}:
            raise


def sync_folder(folder: Path) -> bool:
    """Flush a folder after a rename in it, which is done: an error is logged as a warning, not raised.

    Returns:
        False where the system could not write the folder, so that older files should not be deleted yet.
    """
    try:
        flush_folder(folder)
    except OSError as error:
        message = "the new files in %s are complete, but the folder could not be flushed to disk: %s"
        warn_once(logger, ("flush", folder, error.errno), message, folder, error.strerror)
        return False
    return True


def make_folder(path: FilePath, argument: str = "model_path") -> Path:
    """Create a folder and its parents, if missing, and test that files can be written there.

    Args:
        path: the folder.
        argument: what the user is told to change where the folder cannot be used.

    Raises:
        OSError: naming the folder, when it cannot be created or written to.
    """
    folder = expand(path)
    try:
        retry(lambda: folder.mkdir(parents=True, exist_ok=True))
        probe = folder / f"probe.{secrets.token_hex(4)}.tmp"
        retry(probe.touch)
        probe.unlink()
    except OSError as error:
        reason = _obstacle(folder) or error.strerror
        raise OSError(error.errno, f"cannot write into the folder: {reason}. Choose another {argument}", str(folder)) from error
    return folder


def _obstacle(folder: Path) -> str | None:
    """What stands where the folder, or one of its parents, should be; None where that is not the reason."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            if os.path.lexists(place) and not place.is_dir():
                what = "a link that leads to no folder" if place.is_symlink() else "a file, not a folder"
                return f"{place.name} is {what}"
    return None


def delete(path: Path, folder: bool = False) -> None:
    """Delete a file that is not needed any more, or a folder of ours; a link itself, not what it leads to. A failure is logged only."""
    try:
        if folder and stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        warn_not_deleted(path, error)


def warn_not_deleted(path: Path, error: OSError) -> None:
    """Log that a file or folder of ours stays, once in a run for each folder and reason."""
    message = "%s is not needed any more, and could not be deleted: %s"
    warn_once(logger, ("delete", path.parent, error.errno), message, path, error.strerror)
