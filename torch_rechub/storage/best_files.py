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

    def offer(self, step: int, value: float, weights: Callable[[], Mapping[str, Any]], anew: bool = False) -> None:
        """Write ``weights()`` if ``value`` is among the best values; of equal values the earlier validation is better.

        Args:
            step: the optimizer step of the validation.
            value: the monitored value; nothing is written if it is not finite.
            weights: returns the ``state_dict`` to write.
            anew: delete the files of an earlier run.
        """
        if not math.isfinite(value):
            return
        old_entries = self.entries()
        other_entries = [] if anew else [entry for entry in old_entries if entry["step"] != step]
        new_entry: dict[str, Any] = {"file": f"step-{step:08d}.pth", "step": step, "value": value}
        ranked = sorted([*other_entries, new_entry], key=lambda entry: (-self.sign * entry["value"], entry["step"]))[: self.keep]
        if new_entry not in ranked:
            return
        make_folder(self.folder)
        save_weights(self.folder / new_entry["file"], weights())
        write_text(self.folder / "best.json", json.dumps(ranked, indent=1))
        listed_files = {entry["file"] for entry in ranked}
        for entry in old_entries:
            if entry["file"] not in listed_files:
                (self.folder / entry["file"]).unlink(missing_ok=True)
