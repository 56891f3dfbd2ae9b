"""Paths as users write them: ``~`` is expanded, and a relative path is resolved once."""

from __future__ import annotations

import os
import re
from pathlib import Path

from torch_rechub.types import FilePath

__all__ = ["absolute", "absolute_as_given", "as_folder", "expand", "expand_address", "folder_address"]

#: How files of weights end.
WEIGHTS = {".pth", ".pt", ".ckpt", ".bin", ".safetensors"}
#: The beginning of an address that is followed by a path of this machine.
LOCAL_SCHEME = re.compile(r"(?:[a-z+]+:///|file:(?://)?)(?=~)")


def expand(path: FilePath, argument: str = "A path") -> Path:
    """A path with ``~`` and ``~user`` replaced by the home folder; every function that takes a path begins with it.

    Args:
        path: as the user wrote it.
        argument: its name, for errors.

    Raises:
        TypeError: when it is neither a string nor a path.
        ValueError: when it holds a null character, or begins with ``~`` and no home folder is known.

    Example:
        >>> expand("saved/model.pth").as_posix()
        'saved/model.pth'
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be a str or an os.PathLike of str; got {path!r}.")
    if "\0" in text:
        raise ValueError(f"{argument} must not hold a null character; got {text!r}.")
    expanded = os.path.expanduser(text)
    if re.match(r"~(?:$|[/\\])", expanded):
        raise ValueError(f"There is no home folder for '~' in the path {text!r}. Set the variable HOME, or give an absolute path.")
    return Path(expanded)


def absolute(path: FilePath, argument: str = "A path") -> Path:
    """An expanded path from the root, so that it stays the same where the working folder changes later. Links are not followed."""
    return Path(os.path.abspath(expand(path, argument)))


def absolute_as_given(path: FilePath, argument: str = "A path") -> FilePath:
    """The same in the form that was given: text stays text, with the slash at its end, to which a script may add a file's name."""
    place = absolute(path, argument)
    if not isinstance(path, str):
        return place
    return str(place) if not path.endswith(("/", os.sep)) or place == place.parent else f"{place}{os.sep}"


def as_folder(path: FilePath, argument: str) -> FilePath:
    """The path of a folder; one that ends as the files of weights do, and is no folder yet, is refused.

    Raises:
        ValueError: naming the folder to give instead.
    """
    place = Path(path)
    if place.suffix in WEIGHTS and not place.is_dir():
        raise ValueError(f"{argument} must be a folder, in which files are written; got {str(path)!r}. Give {str(place.parent)!r}.")
    return path


def folder_address(address: FilePath) -> str:
    """The folder of a tracker, as an absolute path; an address of another machine is returned unchanged."""
    return os.fspath(address) if "://" in os.fspath(address) else str(absolute(address))


def expand_address(address: FilePath) -> str:
    """The path or address of a tracker, with ``~`` expanded in a path of this machine; any other address is returned unchanged.

    Example:
        >>> expand_address("https://tracker.example/~team"), expand_address("runs")
        ('https://tracker.example/~team', 'runs')
    """
    text = os.fspath(address)
    scheme = LOCAL_SCHEME.match(text)
    if scheme is None:
        return str(expand(text)) if text.startswith("~") else text
    return scheme[0] + str(expand(text[scheme.end() :]))
