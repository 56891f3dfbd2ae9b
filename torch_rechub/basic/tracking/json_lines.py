"""A logger that writes JSON lines and needs no library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.tracking.base import BaseLogger, plain
from torch_rechub.storage import absolute, append_line, expand, make_folder, refuse_obstacle
from torch_rechub.types import FilePath

__all__ = ["JsonLinesLogger"]


@named_arguments
class JsonLinesLogger(BaseLogger):
    """Writes one JSON object per line to a file. It needs no server and no library.

    Each line is appended by one write, so two runs can share a file, and a killed run loses no logged line. NaN and infinities are
    written as ``NaN`` and ``Infinity``, which Python's ``json`` reads.

    Args:
        path: the file; its folder is created if missing.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> logger = JsonLinesLogger(path)
        >>> logger.log_hyperparams({"lr": 0.001})
        >>> logger.log_metrics({"val/auc": 0.71}, step=0)
        >>> path.read_text().splitlines()
        ['{"settings": {"lr": 0.001}}', '{"step": 0, "val/auc": 0.71}']
    """

    def __init__(self, path: FilePath) -> None:
        self.path = expand(path, "JsonLinesLogger's path")
        self._file = absolute(self.path)  # a script may change the working folder later
        make_folder(self._file.parent, "path")
        refuse_obstacle(self._file)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self._write({"step": step, **metrics})

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self._write({"settings": params})

    def finish(self) -> None:
        """Does nothing: no data is pending after ``log_metrics``."""

    def __repr__(self) -> str:
        return f"JsonLinesLogger({str(self.path)!r})"

    def _write(self, record: Mapping[str, Any]) -> None:
        append_line(self._file, json.dumps(plain(record)))
