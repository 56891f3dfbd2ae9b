"""The weights of the k best checks on disk, with a list that says which is which."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from torch_rechub.storage.files import make_folder, save_weights, write_text

__all__ = ["BestFiles"]


class BestFiles:
    """``step-<n>.pth`` for each of the ``keep`` best checks, and ``best.json``, which names them, best first.

    A file is whole before the list names it, and is deleted after the list has let it go.

    Args:
        folder: where they lie.
        keep: how many.
        direction: "max" or "min".
    """

    def __init__(self, folder: Path, keep: int, direction: Literal["max", "min"]) -> None:
        self.folder = folder
        self.keep = keep
        self.sign = 1 if direction == "max" else -1

    def listed(self) -> list[dict[str, Any]]:
        """The entries of the list, best first: ``file``, ``step``, ``value``."""
        path = self.folder / "best.json"
        return json.loads(path.read_text()) if path.exists() else []

    def offer(self, step: int, value: float, weights: Callable[[], Mapping[str, Any]], anew: bool = False) -> None:
        """Keep ``weights()`` if ``value`` is among the best; an earlier check wins a tie. ``anew`` lets go of an earlier run's."""
        if not math.isfinite(value):
            return
        before = self.listed()
        kept = [] if anew else [entry for entry in before if entry["step"] != step]
        ranked = sorted(
            [*kept, {"file": f"step-{step:08d}.pth", "step": step, "value": value}], key=lambda e: (-self.sign * e["value"], e["step"])
        )
        ranked = ranked[: self.keep]
        if all(entry["step"] != step for entry in ranked):
            return
        make_folder(self.folder)
        save_weights(self.folder / f"step-{step:08d}.pth", weights())
        write_text(self.folder / "best.json", json.dumps(ranked, indent=1))
        names = {entry["file"] for entry in ranked}
        for entry in before:
            if entry["file"] not in names:
                (self.folder / entry["file"]).unlink(missing_ok=True)
