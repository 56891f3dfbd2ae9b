"""The weights of the k best validations on disk, with an index file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from torch_rechub.storage.files import make_folder, save_weights, write_text

__all__ = ["BestFiles"]


class BestFiles:
    """Writes ``step-<n>.pth`` for each of the ``keep`` best validations, and the index ``best.json``, which lists them, best first.

    A weights file is complete before the index lists it, and it is deleted only after the index no longer lists it.

    Args:
        folder: the folder of the files.
        keep: number of validations to keep.
        direction: "max" if the best value is the largest, "min" if it is the smallest.
    """

    def __init__(self, folder: Path, keep: int, direction: Literal["max", "min"]) -> None:
        self.folder = folder
        self.keep = keep
        self.sign = 1 if direction == "max" else -1

    def entries(self) -> list[dict[str, Any]]:
        """The entries of the index, best first, each with ``file``, ``step`` and ``value``."""
        path = self.folder / "best.json"
        return json.loads(path.read_text()) if path.exists() else []

    def offer(self, step: int, value: float, weights: Callable[[], Mapping[str, Any]], new_run: bool = False) -> None:
        """Write ``weights()`` if ``value`` is among the best values; of equal values the earlier validation is better.

        Args:
            step: the optimizer step of the validation.
            value: the monitored value; no weights are written if it is not finite.
            weights: returns the ``state_dict`` to write.
            new_run: delete the files of an earlier run.
        """
        old_entries = self.entries()
        ranked = [] if new_run else [entry for entry in old_entries if entry["step"] != step]
        if math.isfinite(value):
            new_entry: dict[str, Any] = {"file": f"step-{step:08d}.pth", "step": step, "value": value}
            ranked = sorted([*ranked, new_entry], key=lambda entry: (-self.sign * entry["value"], entry["step"]))[: self.keep]
            if new_entry in ranked:
                make_folder(self.folder)
                save_weights(self.folder / new_entry["file"], weights())
        if ranked != old_entries:
            self._replace_index(ranked, old_entries)

    def _replace_index(self, ranked: list[dict[str, Any]], old_entries: list[dict[str, Any]]) -> None:
        """Replace the list, then delete the files that it no longer names."""
        write_text(self.folder / "best.json", json.dumps(ranked, indent=1))
        listed_files = {entry["file"] for entry in ranked}
        for entry in old_entries:
            if entry["file"] not in listed_files:
                (self.folder / entry["file"]).unlink(missing_ok=True)
