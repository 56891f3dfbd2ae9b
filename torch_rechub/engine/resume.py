"""Which save a run is resumed from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch_rechub.storage import SaveFolder
from torch_rechub.types import FilePath

__all__ = ["find_save"]


def find_save(resume: Any, model_path: FilePath | None) -> Any:
    """The newest good save that ``fit(resume=...)`` asks for, or None where a run is to start anew.

    Args:
        resume: None, "auto", or a folder.
        model_path: the trainer's folder, where "auto" looks.

    Raises:
        FileNotFoundError: when a folder was named and holds no save.
        ValueError: when ``resume`` is something else, or no save is good.
    """
    if resume is None:
        return None
    if isinstance(resume, str) and resume == "auto":
        if model_path is None:
            raise ValueError("resume='auto' looks for a save under model_path, and model_path is None. Give the trainer a folder.")
        return SaveFolder(Path(model_path) / "resume").newest()
    if not isinstance(resume, str | os.PathLike):
        raise ValueError(f"resume must be None, 'auto' or a folder; got {resume!r}.")
    given = Path(resume)
    for folder in (given, given / "resume"):
        if SaveFolder(folder).names():
            return SaveFolder(folder).newest()
    raise FileNotFoundError(f"resume={str(resume)!r}: there is no save in this folder. resume='auto' starts anew where there is none.")
