"""Compares two results of one setting bit by bit."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

import torch
from torch import Tensor

SHOWN = 2  #: so many of the largest differences are shown; that of the predictions is shown as well
BOUND = 1e-3  #: largest relative difference of a setting that need only be equal to rounding


def bits(value: Any) -> bytes:
    """The bits of a tensor with its type and shape, of a number, or of anything else by its text."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)} ".encode() + value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return struct.pack("d", value) if isinstance(value, float) else repr(value).encode()


def digest(result: dict[str, Any]) -> str:
    """The first eight hexadecimal digits of a digest of a result."""
    hasher = hashlib.blake2b(digest_size=4)
    for name in sorted(result):
        hasher.update(name.encode() + bits(result[name]))
    return hasher.hexdigest()


def relative(old: Any, new: Any) -> float:
    """The largest difference of the numbers, relative to the largest number; infinite where they cannot be compared."""
    if isinstance(old, str) or isinstance(new, str) or old is None or new is None:
        return math.inf
    old, new = torch.as_tensor(old), torch.as_tensor(new)
    if old.dtype != new.dtype or old.shape != new.shape:
        return math.inf
    if not old.is_floating_point():
        return 0.0 if torch.equal(old, new) else math.inf
    old, new = old.double(), new.double()
    if not torch.equal(old.isfinite(), new.isfinite()):
        return math.inf
    size = max(old.nan_to_num().abs().max().item(), new.nan_to_num().abs().max().item()) if old.numel() else 0.0
    return (old - new).nan_to_num().abs().max().item() / size if size else 0.0


class Verdict:
    """The comparison of one setting: whether the bits are the same, and if not, what differs by how much.

    Args:
        old: the result under the old commit.
        new: the result under the new one.
        equal: whether the bits must be the same; otherwise differences up to ``BOUND`` are allowed.
    """

    def __init__(self, old: dict[str, Any], new: dict[str, Any], equal: bool) -> None:
        self.digest, self.equal = digest(new), equal
        self.errors = [f"{name}: {result['error']}" for name, result in (("OLD", old), ("NEW", new)) if "error" in result]
        self.missing = (
            [] if self.errors else [f"{name} (only in {'OLD' if name in old else 'NEW'})" for name in sorted(old.keys() ^ new.keys())]
        )
        differing = [name for name in old if name in new and bits(old[name]) != bits(new[name])]
        self.differences = sorted(((relative(old[name], new[name]), name) for name in differing), reverse=True)

    @property
    def same(self) -> bool:
        """Whether every bit is the same."""
        return not (self.errors or self.missing or self.differences)

    @property
    def passes(self) -> bool:
        """Whether the setting is as required."""
        close = not self.equal and all(size <= BOUND for size, _ in self.differences)
        return self.same or (close and not self.errors and not self.missing)

    def __str__(self) -> str:
        if self.same:
            return f"same bits ({self.digest})"
        chosen = self.differences[:SHOWN] + [each for each in self.differences[SHOWN:] if each[1] == "predictions"]
        differing = [f"{name} differs" if math.isinf(size) else f"{name} by {size:.1e}" for size, name in chosen]
        words = self.errors + self.missing[:SHOWN] + differing
        n_more = len(self.errors) + len(self.missing) + len(self.differences) - len(words)
        return "; ".join(words) + (f"; and {n_more} more" if n_more else "")
