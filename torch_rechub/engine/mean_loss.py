"""The training loss that a record shows."""

from __future__ import annotations

import torch

from torch_rechub.basic.batch.parts import Parts

__all__ = ["MeanLoss", "size_of"]


class MeanLoss:
    """The mean loss over the rows since it was last taken; summed on the device, so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._total = torch.zeros((), dtype=wide, device=device)
        self._size = torch.zeros((), dtype=wide, device=device)

    def add(self, loss: torch.Tensor, size: torch.Tensor | float) -> None:
        """Count a batch of ``size`` rows (or sum of weights)."""
        self._total += loss * size
        self._size += size

    def take(self) -> float:
        """The mean, NaN when nothing was added; begins anew."""
        mean = (self._total / self._size).item()
        self._total.zero_()
        self._size.zero_()
        return mean

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The sums so far."""
        return {"total": self._total, "size": self._size}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from sums."""
        self._total.copy_(state["total"])
        self._size.copy_(state["size"])


def size_of(parts: Parts) -> torch.Tensor | int:
    """How much a batch counts: its rows, or the sum of their weights."""
    if parts.weight is not None:
        return parts.weight.sum()
    return 0 if parts.y is None else len(parts.y)
