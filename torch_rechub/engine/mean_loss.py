"""The training loss that a record shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_rechub.engine.objective import Size, divide

__all__ = ["MeanLoss"]


class MeanLoss:
    """The mean loss since it was last taken, and of each term; summed on the device, so that no step waits for it.

    Each term of a step is weighted by its total over the step (rows, or the sum of their weights), and so is the loss where it has one
    term; the loss of several terms is weighted by the number of rows.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums: dict[str, Tensor] = {}  # "total" and "size" of the loss; "total <term>" and "size <term>"
        self.epoch: dict[str, Tensor] = {}  # the terms' sums since the epoch began

    def add(self, loss: Tensor, terms: Mapping[str, Tensor], totals: Mapping[str, Size], n_row: float) -> None:
        """Count one optimizer step.

        Args:
            loss: of the step.
            terms: the mean of each term.
            totals: what each mean runs over.
            n_row: number of rows of the step.
        """
        self._count(self.sums, "", loss, totals[next(iter(terms))] if len(terms) == 1 else n_row)
        for name, term in terms.items():
            if len(terms) > 1:
                self._count(self.sums, f" {name}", term, totals[name])
            self._count(self.epoch, f" {name}", term, totals[name])

    def _count(self, sums: dict[str, Tensor], name: str, mean: Tensor, size: Any) -> None:
        for key, value in (("total" + name, mean * size), ("size" + name, size)):
            if key not in sums:
                sums[key] = torch.zeros((), dtype=self.dtype, device=self.device)
            sums[key] += value

    def take(self) -> dict[str, float]:
        """The mean loss as ``"loss"``, and where there are several terms each as ``"loss/<term>"``; starts again.

        A term without rows is 0. All are NaN without a step, and where all weights were 0.
        """
        means = _means(self.sums) or {"": float("nan")}
        if "size" in self.sums and not self.sums["size"]:
            means = dict.fromkeys(means, float("nan"))
        for value in self.sums.values():
            value.zero_()
        return {f"loss/{name[1:]}" if name else "loss": mean for name, mean in means.items()}

    def take_epoch(self) -> dict[str, float]:
        """Each term's mean since the epoch began; starts again."""
        means, self.epoch = _means(self.epoch), {}
        return {name[1:]: mean for name, mean in means.items()}

    def all_sums(self) -> dict[str, Tensor]:
        """The live sums, by name."""
        return {**{f"sums.{name}": value for name, value in self.sums.items()}, **{f"epoch.{n}": value for n, value in self.epoch.items()}}

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"sums": dict(self.sums), "epoch": dict(self.epoch)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from saved sums."""
        self.sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self.epoch = {name: value.to(self.device) for name, value in state["epoch"].items()}


def _means(sums: Mapping[str, Tensor]) -> dict[str, float]:
    names = [name.removeprefix("total") for name in sums if name.startswith("total")]
    return {name: divide(sums["total" + name], sums["size" + name]).item() for name in names}
