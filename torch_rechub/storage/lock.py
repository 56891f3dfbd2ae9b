"""One live run in a folder: locks that the operating system releases when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import stat
import threading
import time
from typing import Any

from torch_rechub.storage.disk import make_folder, retry
from torch_rechub.storage.places import expand
from torch_rechub.storage.reading import NATURAL, UnexpectedContentError, read_json
from torch_rechub.types import FilePath

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["FolderInUseError", "FolderLock", "FolderMark"]

logger = logging.getLogger(__name__)
LOCK = "lock"  #: the file's name in the folder
HOLDER = {"process": NATURAL, "host": str, "since": str}
BUSY = {errno.EAGAIN, errno.EACCES}
MAX_TRIES = 20  #: while other processes create and delete the lock's file


class FolderInUseError(RuntimeError):
    """Another live run uses the folder; the message names its process."""


class _Held:
    """The descriptors on which this process holds a lock. A forked child, such as a loader's worker, closes its copies: they would keep
    the lock alive after this process was killed. Some network file systems do not tell two descriptors of one process apart, so that the
    files are compared here as well."""

    def __init__(self) -> None:
        self._files: dict[int, tuple[int, int]] = {}
        self._mutex = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close_all)

    def take(self, descriptor: int) -> bool:
        """Lock an open file without waiting; False where another one has the lock.

        Raises:
            OSError: when the file system has no locks.
        """
        found = os.fstat(descriptor)
        file = (found.st_dev, found.st_ino)
        with self._mutex:
            if file in self._files.values():
                return False
            self._files[descriptor] = file
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
            retry(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY:
                self._files.pop(descriptor)
                return False
            raise
        return True

    def release(self, descriptor: int) -> None:
        """Close a descriptor, which releases its lock."""
        if self._files.pop(descriptor, None) is not None:
            os.close(descriptor)

    def __contains__(self, descriptor: int | None) -> bool:
        return descriptor in self._files

    def _close_all(self) -> None:
        self._mutex = threading.Lock()
        for descriptor in list(self._files):
            with contextlib.suppress(OSError):
                self.release(descriptor)


HELD = _Held()


class _Lock:
    """A lock that this object holds from :meth:`acquire` to :meth:`release`. A copy of it, by ``copy`` or ``pickle``, holds none."""

    def __init__(self, folder: FilePath) -> None:
        self.folder = expand(folder)
        self._descriptor: int | None = None

    def release(self) -> None:
        """Release the lock. Does nothing where it is not held, as in a forked process."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            HELD.release(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_descriptor": None}


class FolderMark(_Lock):
    """Marks a folder as used by a live run. Others are not kept out: the mark tells whether there is another one."""

    def acquire(self) -> bool:
        """Mark the folder; False where another live run has. True where the file system has no locks, as nothing is known there."""
        try:
            descriptor = os.open(self.folder, os.O_RDONLY)
        except OSError:  # Windows opens no folder
            return True
        try:
            is_taken = HELD.take(descriptor)
        except OSError:
            is_taken = None
        if is_taken is False:
            os.close(descriptor)
        else:
            self._descriptor = descriptor
        return is_taken is not False


class FolderLock(_Lock):
    """Keeps other live runs out of a folder. The file ``lock`` in it names the process; the lock of a process that has ended counts for
    nothing, whatever the file says.

    Args:
        folder: created where it is missing.
    """

    def __init__(self, folder: FilePath) -> None:
        super().__init__(folder)
        self.path = self.folder / LOCK
        self._warned = False

    def acquire(self) -> None:
        """Lock the folder. Where its file system has no locks, one warning is logged.

        Raises:
            FolderInUseError: naming the process that has it.
            OSError: when the folder cannot be written to.
        """
        make_folder(self.folder)
        for _ in range(MAX_TRIES):
            descriptor = self._open()
            try:
                is_taken = HELD.take(descriptor)
            except OSError as error:
                self._descriptor = descriptor
                self._warn(error)
                return
            if not is_taken:
                os.close(descriptor)
                raise FolderInUseError(self._message())
            if self._is_at_path(descriptor):
                self._descriptor = descriptor
                with contextlib.suppress(OSError):  # of a full disk: the lock holds all the same, and a save will report it
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(_this_process()).encode())
                return
            HELD.release(descriptor)  # the file was deleted, by the process that had it, before it was locked here
        raise FolderInUseError(self._message())

    def ensure(self) -> None:
        """Lock the folder again where it was deleted meanwhile.

        Raises:
            FolderInUseError: when another run has it now.
        """
        if self._descriptor is not None and not self._is_at_path(self._descriptor):
            self.release()
            self.acquire()

    def release(self) -> None:
        if self._descriptor in HELD and self._descriptor is not None and self._is_at_path(self._descriptor):
            with contextlib.suppress(OSError):
                self.path.unlink()
        super().release()

    def _open(self) -> int:
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            descriptor = retry(os.open, self.path, flags, 0o666)
        except OSError as error:
            raise OSError(error.errno, f"cannot be locked: {error.strerror}. Remove what is there", str(self.path)) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EEXIST, "cannot be locked: it is no regular file. Remove what is there", str(self.path))
        return descriptor

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.lstat())
        except OSError:
            return False

    def _message(self) -> str:
        try:
            holder = read_json(self.path, HOLDER, max_bytes=1 << 12)
            who = f"process {holder['process']} on {holder['host']}, since {holder['since']}"
            who += " (this process)" if (holder["process"], holder["host"]) == (os.getpid(), socket.gethostname()) else ""
        except (OSError, UnexpectedContentError):
            who = "another process"
        return (
            f"{self.folder} is in use by another live run: {who}. Two runs cannot save into one folder. Wait until it has ended, or end "
            "it, or give this trainer another model_path."
        )

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s cannot be locked (%s), so that a second run in it would not be noticed: start no other run in this folder.",
                self.folder,
                error.strerror,
            )


def _this_process() -> dict[str, Any]:
    return {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
