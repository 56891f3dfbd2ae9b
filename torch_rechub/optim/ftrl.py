"""FTRL-Proximal: one adaptive learning rate per coordinate, and weights that are exactly zero under an L1 penalty."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torch_rechub.arguments import named_arguments
from torch_rechub.optim.base import RowOptimizer
from torch_rechub.optim.rows import TableRows

__all__ = ["FTRL"]


class FTRLRows(TableRows):
    """A table under FTRL; rows without a gradient do not change."""

    def step(self, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        _initialize_state(self.weight, self.state, group)
        w, z, n = (tensor.index_select(0, rows) for tensor in (self.weight, self.state["z"], self.state["n"]))
        w, z, n = _ftrl_update(w, z, n, grad, group)
        for tensor, new in ((self.weight, w), (self.state["z"], z), (self.state["n"], n)):
            tensor.index_copy_(0, rows, new)


@named_arguments
class FTRL(RowOptimizer):
    """FTRL-Proximal, coordinate by coordinate, for tables and all other parameters.

    McMahan et al., *Ad Click Prediction: a View from the Trenches*, KDD 2013, Algorithm 1: with sigma = (sqrt(n + g^2) - sqrt(n)) / alpha,
    ``z += g - sigma w; n += g^2; w = 0 if |z| <= l1 else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2)``.
    One deviation: the first z is computed from the model's initial weights. In the paper weights start at zero, where the gradient of a
    product of embeddings is zero too. As in the paper, coordinates with gradient zero are not updated.

    Args:
        params: all parameters of a model, or groups of them.
        lr: alpha, the learning rate.
        beta: makes the learning rate of the first steps smaller.
        l1: L1 penalty; weights with ``|z| <= l1`` are exactly zero.
        l2: L2 penalty.

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
                self.move_state(parameter, True)
                _initialize_state(parameter, state, group)
                w, z, n = _ftrl_update(parameter.detach(), state["z"], state["n"], parameter.grad, group)
                for tensor, new in ((parameter, w), (state["z"], z), (state["n"], n)):
                    tensor.copy_(new)


def _initialize_state(weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """Set z so that Algorithm 1 gives the current weights, and n to zero."""
    if "z" not in state:
        w = weight.detach()
        state["z"] = -w * (group["beta"] / group["lr"] + group["l2"]) - w.sign() * group["l1"]
        state["n"] = torch.zeros_like(w)


def _ftrl_update(w: Tensor, z: Tensor, n: Tensor, grad: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Algorithm 1: the new w, z and n."""
    lr, beta, l1, l2 = float(group["lr"]), group["beta"], group["l1"], group["l2"]
    total = n + grad * grad
    z = z + grad - (total.sqrt() - n.sqrt()) / lr * w
    new = -(z - z.sign() * l1) / ((beta + total.sqrt()) / lr + l2)
    new = torch.where(z.abs() <= l1, torch.zeros_like(w), new)
    return torch.where(grad == 0, w, new), z, total
