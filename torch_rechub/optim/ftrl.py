"""FTRL-Proximal: adaptive rates by coordinate, and weights that are exactly zero under an L1 penalty."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torch_rechub.optim.base import RowOptimizer
from torch_rechub.optim.rows import TableRows

__all__ = ["FTRL"]


class FTRLRows(TableRows):
    """A table under FTRL: rows without a gradient stay where they are."""

    def step(self, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        _start(self.weight, self.state, group)
        w, z, n = (tensor.index_select(0, rows) for tensor in (self.weight, self.state["z"], self.state["n"]))
        w, z, n = _follow_the_leader(w, z, n, grad, group)
        for tensor, new in ((self.weight, w), (self.state["z"], z), (self.state["n"], n)):
            tensor.index_copy_(0, rows, new)


class FTRL(RowOptimizer):
    """FTRL-Proximal for tables and for all else, by coordinate.

    McMahan et al., *Ad Click Prediction: a View from the Trenches*, KDD 2013, Algorithm 1: with sigma = (sqrt(n + g^2) - sqrt(n)) / alpha,
    ``z += g - sigma w; n += g^2; w = 0 if |z| <= l1 else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2)``.
    One deviation: z starts so that weights start where the model has them, not at zero (from which factors of a product would never move).
    As in the paper, only coordinates whose gradient is not zero are computed.

    Args:
        params: all of a model's parameters, or groups of them.
        lr: alpha, the rate.
        beta: smooths the rate of the first steps.
        l1: weights whose z stays below it are exactly zero.
        l2: pulls weights towards zero.

    Raises:
        ValueError: ``lr`` is not above 0, or another number is below 0.
        TypeError: ``lr`` is a tensor.

    Example:
        >>> optimizer = FTRL(torch.nn.Linear(2, 1).parameters(), lr=0.1, l1=0.01)
    """

    rows_class: ClassVar[type[TableRows]] = FTRLRows
    dense_tables: ClassVar[bool] = False

    def __init__(self, params: ParamsT, lr: float = 0.05, beta: float = 1.0, l1: float = 0.0, l2: float = 0.0) -> None:
        for name, number in {"beta": beta, "l1": l1, "l2": l2}.items():
            if not number >= 0:
                raise ValueError(f"FTRL: {name} must be >= 0; got {number}.")
        if not isinstance(lr, Tensor) and not lr > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"FTRL: lr must be > 0; got {lr}.")
        super().__init__(params, {"lr": lr, "beta": beta, "l1": l1, "l2": l2}, None)

    def step_dense(self, groups: list[dict[str, Any]]) -> None:
        for group in groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                self.bring_state(parameter, True)
                _start(parameter, state, group)
                w, z, n = _follow_the_leader(parameter.detach(), state["z"], state["n"], parameter.grad, group)
                for tensor, new in ((parameter, w), (state["z"], z), (state["n"], n)):
                    tensor.copy_(new)


def _start(weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """The z from which Algorithm 1 gives the weights as they are."""
    if "z" not in state:
        w = weight.detach()
        state["z"] = -w * (group["beta"] / group["lr"] + group["l2"]) - w.sign() * group["l1"]
        state["n"] = torch.zeros_like(w)


def _follow_the_leader(w: Tensor, z: Tensor, n: Tensor, grad: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Algorithm 1 for one gradient: the new w, z and n."""
    lr, beta, l1, l2 = float(group["lr"]), group["beta"], group["l1"], group["l2"]
    total = n + grad * grad
    z = z + grad - (total.sqrt() - n.sqrt()) / lr * w
    leader = -(z - z.sign() * l1) / ((beta + total.sqrt()) / lr + l2)
    leader = torch.where(z.abs() <= l1, torch.zeros_like(w), leader)
    return torch.where(grad == 0, w, leader), z, total
