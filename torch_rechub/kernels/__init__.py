"""What the row-wise optimizers do to many rows at once: one interface, two implementations.

:mod:`torch_any` is plain torch and runs on every device. :mod:`numba_cpu` is compiled for one CPU thread and taken by itself where numba
(``pip install torch-rechub[fast]``) is there and a table is float32 on the CPU. Both give the same rows in the same order, and numbers
that agree to float32 rounding.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol, TypeAlias, cast

import torch
from torch import Tensor

from torch_rechub.kernels import torch_any
from torch_rechub.kernels.missed import MissedSteps

__all__ = ["AdamStep", "Kernels", "kernels_for", "use_kernels"]

Choice: TypeAlias = Literal["auto", "torch", "numba"]
AdamStep: TypeAlias = torch_any.AdamStep


class Kernels(Protocol):
    """The operations on rows."""

    def unique(self, rows: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct ``rows`` ``(n,)``, ascending, int64, and for each row its place among them; ``slot`` is scratch, int32."""
        ...

    def gather(self, weight: Tensor, rows: Tensor) -> Tensor:
        """``weight[rows]``, ``(n, D)``."""
        ...

    def accumulate(self, grad: Tensor, inverse: Tensor, n: int) -> Tensor:
        """Sums ``(n, D)`` of the rows of ``grad`` by the places ``inverse``."""
        ...

    def adam_catch_up(self, w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, missed: MissedSteps) -> None:
        """Bring the distinct ``rows`` of weights ``w`` and moments ``m``, ``v`` up to date in place; ``last`` says since when they lag."""
        ...

    def adam_update(self, w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, grad: Tensor, step: AdamStep) -> None:
        """One step of Adam on the distinct ``rows``, which are up to date, with gradients ``(n, D)``."""
        ...


_choice: Choice = "auto"


def use_kernels(choice: Choice) -> _Choosing:
    """Choose the kernels from here on; used with ``with``, until its end.

    Args:
        choice: "torch" or "numba" forces one; "auto" takes numba where it can.

    Raises:
        ValueError: any other word.
        ImportError: "numba" where numba is not installed.

    Example:
        >>> with use_kernels("torch"):
        ...     kernels_for(torch.zeros(2, 2)).__name__
        'torch_rechub.kernels.torch_any'
    """
    global _choice  # one setting for the process, as torch's own
    if choice not in ("auto", "torch", "numba"):
        raise ValueError(f"use_kernels: choice must be 'auto', 'torch' or 'numba'; got {choice!r}.")
    if choice == "numba" and not _numba_is_there():
        raise ImportError("use_kernels('numba') needs numba. Install it with: pip install torch-rechub[fast]")
    before, _choice = _choice, choice
    return _Choosing(before)


class _Choosing:
    """Puts the earlier choice back at the end of a ``with``."""

    def __init__(self, before: Choice) -> None:
        self.before: Choice = before

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        use_kernels(self.before)


def kernels_for(weight: Tensor) -> Kernels:
    """The kernels for a table like ``weight``."""
    compiled = weight.device.type == "cpu" and weight.dtype is torch.float32 and weight.is_contiguous()
    if compiled and _choice != "torch" and _numba_is_there():
        return _numba_cpu()
    return cast(Kernels, torch_any)


@cache
def _numba_is_there() -> bool:
    return find_spec("numba") is not None


@cache
def _numba_cpu() -> Kernels:
    return cast(Kernels, import_module("torch_rechub.kernels.numba_cpu"))
