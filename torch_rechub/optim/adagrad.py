"""Adagrad with one sum per coordinate or per row. Rows without a gradient do not change, so a step reads only the rows of the batch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torch_rechub.arguments import named_arguments
from torch_rechub.optim.base import RowOptimizer
from torch_rechub.optim.rows import TableRows

__all__ = ["Adagrad", "RowWiseAdagrad"]


class AdagradRows(TableRows):
    """A table under Adagrad; ``sum`` has one number per coordinate, or one per row."""

    def step(self, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        self.state["step"] += 1
        steps = int(self.state["step"]) if group["lr_decay"] else 1
        rate = float(group["lr"]) / (1 + (steps - 1) * group["lr_decay"])
        total = self.state["sum"].index_select(0, rows)
        square = grad * grad
        total += square if total.shape == square.shape else square.mean(1, keepdim=True)
        self.state["sum"].index_copy_(0, rows, total)
        new = self.weight.index_select(0, rows).addcdiv_(grad, total.sqrt().add_(group["eps"]).expand_as(grad), value=-rate)
        self.weight.index_copy_(0, rows, new)


@named_arguments
class Adagrad(RowOptimizer):
    """``torch.optim.Adagrad``, where the cost of an embedding table depends on the rows of the batch only.

    Duchi, Hazan and Singer, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, JMLR 2011, the diagonal form:
    ``sum += grad^2; w -= lr / (1 + (step - 1) * lr_decay) * grad / (sqrt(sum) + eps)``.

    Args:
        params: all parameters of a model, or groups of them.
        lr: learning rate, a number.
        lr_decay: decay of the learning rate, as in the formula.
        weight_decay: coupled decay. It changes every row, so tables are trained densely if it is above 0.
        initial_accumulator_value: first value of the sum of squares.
        eps: added to the square root of the sum.
        foreach, maximize, differentiable, fused: as in torch, for all other parameters; ``fused=None`` means True on the CPU.

    Raises:
        ValueError: an argument is out of range, as in torch.
        TypeError: ``lr`` is a tensor.

    Example:
        >>> optimizer = Adagrad(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    """

    rows_class: ClassVar[type[TableRows]] = AdagradRows
    fused_on: ClassVar[tuple[str, ...]] = ("cpu",)
    by_row: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options: dict[str, Any] = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps, "fused": fused}
        options |= {"initial_accumulator_value": initial_accumulator_value}
        options |= {"foreach": foreach, "maximize": maximize, "differentiable": differentiable}
        super().__init__(params, options, torch.optim.Adagrad)

    def start_state(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """Create the sums, as torch does in its constructor."""
        by_row = self.by_row and parameter in self._tables
        total = parameter.detach()[:, :1] if by_row else parameter.detach()
        initial = {"step": torch.tensor(0.0), "sum": torch.full_like(total, group["initial_accumulator_value"])}
        self.state[parameter] = initial


@named_arguments
class RowWiseAdagrad(Adagrad):
    """Adagrad with one sum for each row of a table: the sum of the mean squares of the row's gradients.

    ``sum_r += mean_j grad_rj^2; w_r -= lr * grad_r / (sqrt(sum_r) + eps)``: the exact row-wise Adagrad of FBGEMM and TorchRec (Mudigere
    et al., *Software-Hardware Co-design for Fast and Scalable Training of Deep Learning Recommendation Models*, ISCA 2022). Its
    state takes ``1/D`` of the memory of Adagrad's. All other parameters are trained as by :class:`Adagrad`.

    Args:
        params: all parameters of a model, or groups of them.
        lr: learning rate, a number.
        lr_decay: decay of the learning rate, as in :class:`Adagrad`.
        initial_accumulator_value: first value of the sums.
        eps: added to the square roots of the sums.

    Raises:
        ValueError: an argument is out of range, as in torch's Adagrad.

    Example:
        >>> optimizer = RowWiseAdagrad(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    """

    by_row: ClassVar[bool] = True
    dense_tables: ClassVar[bool] = False

    def __init__(
        self, params: ParamsT, lr: float = 1e-2, lr_decay: float = 0.0, initial_accumulator_value: float = 0.0, eps: float = 1e-10
    ) -> None:
        super().__init__(params, lr, lr_decay, 0.0, initial_accumulator_value, eps)
