"""The facts of a report besides the records: how the run ended, and on which system it ran."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
import torch

__all__ = ["Ending", "environment"]


@dataclass(frozen=True)
class Ending:
    """How a run ended, and why."""

    kind: Literal["finished", "stopped", "paused", "failed", "not run"]
    reason: str


def environment(device: torch.device | None = None, **more: Any) -> dict[str, Any]:
    """Versions, device and threads of this process. The names of the machine and of the user are not included.

    Args:
        device: the device of the model; None is the CPU.
        more: further facts, such as the kernels in use.
    """
    facts: dict[str, Any] = {
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "torch-rechub": _version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **more,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if device is not None and device.type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return {"device": str(device or "cpu"), **facts}


def _version() -> str:
    try:
        return version("torch-rechub")
    except PackageNotFoundError:
        return "not installed"
