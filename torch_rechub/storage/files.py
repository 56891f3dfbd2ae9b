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

from torch_rechub.torch_private import with_metadata_of
from torch_rechub.types import FilePath

__all__ = [
    "append_line",
    "make_folder",
    "remove_temporary_files",
    "save_safetensors",
    "save_tensors",
    "save_weights",
    "sync_folder",
    "write_figure",
    "write_file",
    "write_text",
]


def make_folder(path: FilePath) -> Path:
    """Create a folder and its parents, if missing, and test that files can be written there.

    Raises:
        OSError: naming the folder, when it cannot be created or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"probe.{secrets.token_hex(4)}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, f"cannot write into the folder: {error.strerror}. Choose another model_path", str(folder)) from error
    return folder


def write_file(path: FilePath, write: Callable[[IO[bytes]], Any]) -> None:
    """Replace a file atomically. ``write`` writes a temporary file in the same folder, which is flushed to disk and then renamed.

    If any step fails, an existing file is not changed and no temporary file remains.

    Raises:
        OSError: naming the file that could not be written.
    """
    target = Path(path)
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise _not_written(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: FilePath, text: str) -> None:
    """Replace a text file atomically."""
    write_file(path, lambda file: file.write(text.encode()))


def remove_temporary_files(path: FilePath) -> None:
    """Delete the temporary files that a killed process left beside a file."""
    target = Path(path)
    for temporary in target.parent.glob(f"{target.name}.*.tmp"):
        temporary.unlink(missing_ok=True)


def append_line(path: FilePath, line: str) -> None:
    """Append a line to a text file by one write, so that two processes can share the file. The folder is created if missing."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def write_figure(path: FilePath, figure: Any) -> None:
    """Write a matplotlib figure atomically. The suffix of the path selects the format (.svg, .png, .pdf)."""
    suffix = Path(path).suffix.removeprefix(".") or None
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
            os.fsync(file.fileno())
    except SafetensorError as error:  # also raised for a failed write, with the system's error number in its text
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, f"could not be written: {os.strerror(code) if number else error}", str(path)) from error
    except OSError as error:
        raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error


def save_safetensors(path: FilePath, weights: Mapping[str, Any]) -> None:
    """Write the tensors of a ``state_dict`` atomically in the ``safetensors`` format.

    Raises:
        OSError: naming the file that could not be written; an existing file is not changed.
    """
    target = Path(path)
    folder = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")  # safetensors may create temporary files beside the target
    try:
        folder.mkdir()
        save_tensors(folder / target.name, {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)})
        os.replace(folder / target.name, target)
        sync_folder(target.parent)
    except OSError as error:
        raise _not_written(error, target) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a rename in it is durable. Does nothing on systems that cannot open a folder."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
