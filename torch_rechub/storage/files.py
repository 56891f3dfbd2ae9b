"""Atomic writing of files: a file on disk is either the complete old file or the complete new file, never a part of one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from torch_rechub.storage.disk import delete, make_folder, replace, sync_file, sync_folder
from torch_rechub.storage.places import expand
from torch_rechub.torch_private import with_metadata_of, with_metadata_tensors
from torch_rechub.types import FilePath

__all__ = [
    "append_line",
    "make_folder",
    "refuse_obstacle",
    "remove_temporary_files",
    "save_safetensors",
    "save_tensors",
    "save_weights",
    "sync_folder",
    "write_figure",
    "write_file",
    "write_text",
]


def write_file(path: FilePath, write: Callable[[IO[bytes]], Any], sync: bool = True) -> None:
    """Replace a file atomically. ``write`` writes a temporary file in the same folder, which is flushed to disk and then renamed.

    If any step fails, an existing file is not changed and no temporary file remains. Once it is renamed, nothing is reported as a failure.

    Args:
        path: the file.
        write: gets the open temporary file.
        sync: flush the folder as well; False where the caller does so once for several files.

    Raises:
        OSError: naming the file that could not be written.
    """
    target = expand(path)
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            sync_file(file.fileno())
        replace(temporary, target)
    except OSError as error:
        raise _not_written(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    if sync:
        sync_folder(target.parent)


def write_text(path: FilePath, text: str, sync: bool = True) -> None:
    """Replace a text file atomically; see :func:`write_file`."""
    write_file(path, lambda file: file.write(text.encode()), sync)


def refuse_obstacle(path: FilePath) -> None:
    """Refuse a place where a file is to be written and which is taken by a folder, a pipe or a device.

    Raises:
        OSError: naming what is there.
    """
    target = expand(path)
    if target.exists() and not target.is_file():
        code, what = (errno.EISDIR, "a folder") if target.is_dir() else (errno.EEXIST, "no regular file")
        raise OSError(code, f"a file must be written here, and there is {what}. Move it away, or choose another place", str(target))


def remove_temporary_files(path: FilePath) -> None:
    """Delete the temporary files, and folders, that a killed process left beside a file; nothing else that lies there."""
    target = expand(path)
    pattern = re.compile(re.escape(target.name) + r"\.[0-9a-f]{8}\.tmp")
    for entry in [entry for entry in target.parent.iterdir() if pattern.fullmatch(entry.name)]:
        delete(entry, folder=True)


def append_line(path: FilePath, line: str) -> None:
    """Append a line to a text file by one write, so that two processes can share the file. The folder is created if missing."""
    target = expand(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def write_figure(path: FilePath, figure: Any) -> None:
    """Write a matplotlib figure atomically. The suffix of the path selects the format (.svg, .png, .pdf)."""
    suffix = expand(path).suffix.removeprefix(".") or None
    write_file(path, lambda file: figure.savefig(file, format=suffix))


def save_weights(path: FilePath, weights: Mapping[str, Any]) -> None:
    """Write a ``state_dict`` atomically. ``torch.load(path, weights_only=True)`` reads it on any device, with its metadata."""
    on_cpu = {name: value.detach().cpu() if isinstance(value, torch.Tensor) else value for name, value in weights.items()}
    write_file(path, lambda file: _torch_save(with_metadata_of(weights, on_cpu), file))


def save_tensors(path: FilePath, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a ``safetensors`` file and flush it to disk. Not atomic: the caller writes to a temporary folder and renames it.

    Raises:
        OSError: naming the file that could not be written.
    """
    addresses: set[int] = set()
    separate: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():  # the format does not allow tensors that share memory
        address = tensor.untyped_storage().data_ptr()
        is_separate = address not in addresses and tensor.is_contiguous()
        separate[name] = tensor.detach() if is_separate else tensor.detach().clone(memory_format=torch.contiguous_format)
        addresses.add(address)
    try:
        save_file(separate, path)
        with open(path, "rb") as file:
            sync_file(file.fileno())
    except SafetensorError as error:  # also raised for a failed write, with the system's error number in its text
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, f"could not be written: {os.strerror(code) if number else error}", str(path)) from error
    except OSError as error:
        raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error


def save_safetensors(path: FilePath, weights: Mapping[str, Any]) -> None:
    """Write the tensors of a ``state_dict``, and those of its metadata as further entries, atomically in the ``safetensors`` format.

    Raises:
        OSError: naming the file that could not be written; an existing file is not changed.
    """
    target = expand(path)
    folder = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")  # safetensors may create temporary files beside the target
    try:
        folder.mkdir()
        tensors = {name: value for name, value in with_metadata_tensors(weights).items() if isinstance(value, torch.Tensor)}
        save_tensors(folder / target.name, tensors)
        replace(folder / target.name, target)
    except OSError as error:
        raise _not_written(error, target) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync_folder(target.parent)


def _not_written(error: OSError, target: Path) -> OSError:
    """The error of a file that was to be replaced."""
    return OSError(error.errno, f"could not be written: {error.strerror}. The file that was there before is intact", str(target))


def _torch_save(weights: Mapping[str, Any], file: IO[bytes]) -> None:
    outer_error = sys.exc_info()[1]  # set if the caller saves while it handles an exception
    try:
        torch.save(weights, file)
    except RuntimeError as error:  # torch raises it for a failed write; the cause, which may be an interrupt, is chained
        cause = error.__context__
        raise OSError(None, str(error)) if cause is None or cause is outer_error else cause from error
