"""Operations of the row-wise optimizers on many rows at once: one interface, two implementations.

:mod:`torch_any` is plain torch and runs on every device. :mod:`numba_cpu` is compiled for one CPU thread. It is selected automatically
when numba is installed (``pip install numba``) and the table is float32 on the CPU. Both return the same rows in the same
order, and numbers that agree to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol, TypeAlias, cast

import torch
from torch import Tensor

from torch_rechub.kernels import torch_any
from torch_rechub.kernels.missed import MissedSteps
from torch_rechub.optional_libraries import missing_library

__all__ = ["AdamStep", "Kernels", "announce_compilation", "kernels_for", "use_kernels"]

Choice: TypeAlias = Literal["auto", "torch", "numba"]
AdamStep: TypeAlias = torch_any.AdamStep


class Kernels(Protocol):
    """The operations on rows."""

    def unique(self, rows: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct ``rows`` ``(n,)``, ascending, int64, and the position of each row among them; ``slot`` is int32 scratch memory."""
        ...

    def gather(self, weight: Tensor, rows: Tensor) -> Tensor:
        """``weight[rows]``, ``(n, D)``."""
        ...

    def accumulate(self, grad: Tensor, inverse: Tensor, n: int) -> Tensor:
        """Sums ``(n, D)`` of the rows of ``grad`` that have the same position in ``inverse``."""
        ...

    def adam_catch_up(self, w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, missed: MissedSteps) -> None:
        """Bring the distinct ``rows`` of weights ``w`` and moments ``m``, ``v`` up to date in place; ``last`` holds their last steps."""
        ...

    def adam_update(self, w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, grad: Tensor, step: AdamStep) -> None:
        """Apply one step of Adam to the distinct ``rows``, which are up to date, with gradients ``(n, D)``."""
        ...


_choice: Choice = "auto"


def use_kernels(choice: Choice) -> _ChoiceContext:
    """Choose the kernels for the process, or until the end of a ``with`` block.

    Args:
        choice: "torch" or "numba" selects one implementation; "auto" selects numba wherever it can be used.

    Raises:
        ValueError: ``choice`` is none of the three.
        ImportError: ``choice`` is "numba" and numba is not installed.

    Example:
        >>> with use_kernels("torch"):
        ...     kernels_for(torch.zeros(2, 2)).__name__
        'torch_rechub.kernels.torch_any'
    """
    global _choice  # one setting for the process, like torch's own settings
    if choice not in ("auto", "torch", "numba"):
        raise ValueError(f"use_kernels: choice must be 'auto', 'torch' or 'numba'; got {choice!r}.")
    if choice == "numba" and not _numba_is_installed():
        raise missing_library("use_kernels('numba')", "numba")
    previous, _choice = _choice, choice
    return _ChoiceContext(previous)


class _ChoiceContext:
    """Restores the previous choice at the end of a ``with`` block."""

    def __init__(self, previous: Choice) -> None:
        self.previous: Choice = previous

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        use_kernels(self.previous)


_announcements: list[Callable[[str], None]] = []


def announce_compilation(announce: Callable[[str], None] | None) -> None:
    """Choose what is called with one sentence when kernels begin to be compiled in this process; None for nothing.

    Compiled kernels are cached on disk, so this happens once after an installation.
    """
    _announcements[:] = [] if announce is None else [announce]


def compilation_begins() -> None:
    """Called by compiled kernels before the first of them is compiled."""
    for announce in _announcements:
        announce("compiling kernels for this processor: a few seconds, once after an installation")


def kernels_for(weight: Tensor) -> Kernels:
    """The kernels for a table with the device, the dtype and the layout of ``weight``."""
    can_be_compiled = weight.device.type == "cpu" and weight.dtype is torch.float32 and weight.is_contiguous()
    if can_be_compiled and _choice != "torch" and _numba_is_installed():
        return _numba_cpu()
    return cast(Kernels, torch_any)


@cache
def _numba_is_installed() -> bool:
    return find_spec("numba") is not None


@cache
def _numba_cpu() -> Kernels:
    return cast(Kernels, import_module("torch_rechub.kernels.numba_cpu"))
