"""The weights of the k best validations on disk, with an index file."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from torch_rechub.storage.disk import delete, make_folder, rename
from torch_rechub.storage.files import refuse_obstacle, save_weights, write_text
from torch_rechub.storage.places import expand
from torch_rechub.storage.reading import FINITE, NATURAL, UnexpectedContentError, is_regular, read_json
from torch_rechub.types import FilePath

__all__ = ["BestFiles"]

logger = logging.getLogger(__name__)
INDEX = "best.json"
ENTRIES = [{"file": str, "step": NATURAL, "value": FINITE}]
MAX_BYTES = 1 << 24  #: of the index


class BestFiles:
    """Writes ``step-<n>.pth`` for each of the ``keep`` best validations, and the index ``best.json``, which lists them, best first.

    A weights file is complete before the index lists it, and it is deleted only after the index no longer lists it. The index is read
    once, by :meth:`open`. Only files whose name follows from an entry's step are read or deleted.

    Args:
        folder: the folder of the files.
        keep: number of validations to keep.
        direction: "max" if the best value is the largest, "min" if it is the smallest.
    """

    def __init__(self, folder: FilePath, keep: int, direction: Literal["max", "min"]) -> None:
        self.folder = expand(folder)
        self.keep = keep
        self.sign = 1 if direction == "max" else -1
        self._entries: list[dict[str, Any]] | None = None

    def open(self) -> None:
        """Read the index of an earlier run, and test that files can be written. An index that this library did not write is renamed to
        ``best.json.damaged``, with a warning; no file that it names is touched.

        Raises:
            OSError: naming what is in the way.
        """
        make_folder(self.folder)
        for entry in self.folder.iterdir():
            if re.fullmatch(r"step-[0-9]{8,}\.pth", entry.name):
                refuse_obstacle(entry)
        self._entries = self._read()

    def entries(self) -> list[dict[str, Any]]:
        """The entries of the index, best first, each with ``file``, ``step`` and ``value``."""
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def offer(self, step: int, value: float, weights: Callable[[], Mapping[str, Any]], new_run: bool = False) -> None:
        """Write ``weights()`` if ``value`` is among the best values; of equal values the earlier validation is better.

        Args:
            step: the optimizer step of the validation.
            value: the monitored value; no weights are written if it is not finite.
            weights: returns the ``state_dict`` to write.
            new_run: delete the files of an earlier run.
        """
        value, old_entries = float(value), self.entries()
        ranked = [] if new_run else [entry for entry in old_entries if entry["step"] != step and is_regular(self.folder / entry["file"])]
        if math.isfinite(value):
            new_entry: dict[str, Any] = {"file": _file_of(step), "step": step, "value": value}
            ranked = sorted([*ranked, new_entry], key=lambda entry: (-self.sign * entry["value"], entry["step"]))[: self.keep]
            if new_entry in ranked:
                self.folder.mkdir(parents=True, exist_ok=True)
                save_weights(self.folder / new_entry["file"], weights())
        if ranked != old_entries:
            self._replace_index(ranked, old_entries)

    def _replace_index(self, ranked: list[dict[str, Any]], old_entries: list[dict[str, Any]]) -> None:
        """Replace the list, then delete the files that it no longer names."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / INDEX, json.dumps(ranked, indent=1))
        self._entries = ranked
        listed_files = {entry["file"] for entry in ranked}
        for entry in old_entries:
            if entry["file"] not in listed_files and is_regular(self.folder / entry["file"]):
                delete(self.folder / entry["file"])

    def _read(self) -> list[dict[str, Any]]:
        path = self.folder / INDEX
        if not os.path.lexists(path):
            return []
        try:
            entries = read_json(path, ENTRIES, MAX_BYTES)
            for entry in entries:
                if entry["file"] != _file_of(entry["step"]):
                    raise UnexpectedContentError(f"the file of step {entry['step']} is listed as {entry['file']!r:.80}")
            if len({entry["step"] for entry in entries}) < len(entries):
                raise UnexpectedContentError("a step is listed twice")
        except (OSError, UnexpectedContentError) as error:
            self._set_aside(path, getattr(error, "strerror", None) or str(error))
            return []
        return [{name: entry[name] for name in ENTRIES[0]} for entry in entries]

    def _set_aside(self, path: Path, reason: str) -> None:
        names = (f"{INDEX}.damaged{i or ''}" for i in range(10_000))
        target = next(self.folder / name for name in names if not os.path.lexists(self.folder / name))
        logger.warning("%s was not written by this library or is damaged: %s. It is renamed to %s.", path, reason, target.name)
        rename(path, target)


def _file_of(step: int) -> str:
    return f"step-{step:08d}.pth"
