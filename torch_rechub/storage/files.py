"""The only writer of files: what is on disk is either the old whole or the new whole, never a part."""

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
    "save_safetensors",
    "save_tensors",
    "save_weights",
    "sync_folder",
    "write_figure",
    "write_file",
    "write_text",
]


def make_folder(path: FilePath) -> Path:
    """Create a folder, with those above it, and make sure that a file can be written there.

    Raises:
        OSError: naming the folder, when it cannot be made or written to.
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
    """Replace a file by what ``write`` writes, atomically: a temporary file beside it, flushed to the disk, then renamed.

    Whatever fails on the way, the file that was there stays as it was and no temporary file is left.

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
        raise OSError(error.errno, f"could not be written: {error.strerror}. What was there before is intact", str(target)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: FilePath, text: str) -> None:
    """Replace a text file, atomically."""
    write_file(path, lambda file: file.write(text.encode()))


def append_line(path: FilePath, line: str) -> None:
    """Add one line to a text file in one write, so that two processes can share the file; the file's folder is made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def write_figure(path: FilePath, figure: Any) -> None:
    """Replace a picture by a matplotlib figure, atomically; the path's suffix chooses the format (.svg, .png, .pdf)."""
    suffix = Path(path).suffix.removeprefix(".") or None
    write_file(path, lambda file: figure.savefig(file, format=suffix))


def save_weights(path: FilePath, weights: Mapping[str, Any]) -> None:
    """Replace a ``state_dict`` on disk, atomically; ``torch.load(path, weights_only=True)`` reads it on any device, with its metadata."""
    on_cpu = {name: value.detach().cpu() if isinstance(value, torch.Tensor) else value for name, value in weights.items()}
    write_file(path, lambda file: _torch_save(with_metadata_of(weights, on_cpu), file))


def save_tensors(path: FilePath, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as ``safetensors``, flushed to the disk; not atomic: for a file in a folder that is renamed when it is whole.

    Raises:
        OSError: naming the file that could not be written.
    """
    seen: set[int] = set()
    apart: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():  # the format wants each tensor to have memory of its own
        storage = tensor.untyped_storage().data_ptr()
        alone = storage not in seen and tensor.is_contiguous()
        apart[name] = tensor.detach() if alone else tensor.detach().clone(memory_format=torch.contiguous_format)
        seen.add(storage)
    try:
        save_file(apart, path)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    except SafetensorError as error:  # raised for a failing write as well, with the system's number inside
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, f"could not be written: {os.strerror(code) if number else error}", str(path)) from error
    except OSError as error:
        raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error


def save_safetensors(path: FilePath, weights: Mapping[str, Any]) -> None:
    """Replace a file of the tensors of a ``state_dict`` in the ``safetensors`` format, atomically.

    Raises:
        OSError: naming the file that could not be written; what was there before is intact.
    """
    target = Path(path)
    folder = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")  # the library has temporary files of its own
    try:
        folder.mkdir()
        save_tensors(folder / target.name, {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)})
        os.replace(folder / target.name, target)
        sync_folder(target.parent)
    except OSError as error:
        raise OSError(error.errno, f"could not be written: {error.strerror}. What was there before is intact", str(target)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _torch_save(weights: Mapping[str, Any], file: IO[bytes]) -> None:
    handled = sys.exc_info()[1]  # what a run died of, when it is saved for the last time
    try:
        torch.save(weights, file)
    except RuntimeError as error:  # torch reports a failing write as a RuntimeError, with the reason (an interrupt as well) chained
        reason = error.__context__
        raise OSError(None, str(error)) if reason is None or reason is handled else reason from error


def sync_folder(folder: Path) -> None:
    """Make a rename durable; not every system can open a folder."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
