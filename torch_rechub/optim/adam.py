"""Exact Adam and AdamW, where the cost of a step depends on the rows of the batch only."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.kernels import AdamStep, kernels_for
from torch_rechub.kernels.missed import MissedSteps, why_not
from torch_rechub.optim.base import RowOptimizer
from torch_rechub.optim.rows import TableRows, eagerly

__all__ = ["Adam", "AdamW"]

CHUNK = 1 << 14  #: number of rows in a chunk when all rows are brought up to date

_why_not = lru_cache(maxsize=4096)(why_not)


class AdamRows(TableRows):
    """A table under Adam: ``last`` holds the step at which each row was last brought up to date."""

    def __init__(self, table: EmbeddingTable, state: dict[str, Any]) -> None:
        weight = table.weight.detach()
        if "exp_avg" not in state:
            state.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
        super().__init__(table, state)
        self.now = int(state["step"])
        self.last = torch.full((len(weight),), self.now, dtype=torch.int32, device=weight.device)
        self.missed: MissedSteps | None = None
        self.last_read_step = -1

    @property
    def settled(self) -> bool:
        return self.missed is None

    @eagerly
    def peek(self, rows: Tensor | slice) -> Tensor:
        self.move_state()
        w, m, v, last = (tensor[rows].clone() for tensor in self._weight_and_state())
        self._catch_up(w, m, v, last, torch.arange(len(w), device=w.device))
        return w

    @eagerly
    def settle(self) -> None:
        if self.missed is None:
            return
        self.move_state()
        with torch.no_grad():
            for start in range(0, len(self.last), CHUNK):
                self.catch_up(torch.arange(start, min(start + CHUNK, len(self.last)), device=self.last.device))
        self.missed = None

    @eagerly
    def look_up(self, rows: Tensor) -> Tensor:
        embeddings = super().look_up(rows)
        self.last_read_step = self.now
        return embeddings

    def catch_up(self, rows: Tensor) -> None:
        self._catch_up(*self._weight_and_state(), rows)

    def _catch_up(self, w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor) -> None:
        if self.missed is not None:
            kernels_for(w).adam_catch_up(w, m, v, last, rows, self.missed)

    def step(self, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        lr, (beta1, beta2), eps = float(group["lr"]), group["betas"], group["eps"]
        missed = self._missed_steps_for(beta1, beta2, eps)
        if self.last_read_step != self.now or rows.data_ptr() != self.distinct.data_ptr():  # other rows than the last lookup read
            self.catch_up(rows)
        decay = 1 - lr * group["weight_decay"]
        self.now += 1
        self.state["step"] += 1
        step = AdamStep(self.now, lr, beta1, beta2, eps, decay)
        kernels_for(self.weight).adam_update(*self._weight_and_state(), rows, grad.contiguous(), step)
        missed.append(lr, beta1, decay)
        self.missed = missed

    def _missed_steps_for(self, beta1: float, beta2: float, eps: float) -> MissedSteps:
        """The running sums for the next step: new ones if there are none, or if they do not accept its constants."""
        if self.missed is not None and self.missed.accepts(beta1, beta2, eps):
            return self.missed
        expected = beta1
        if self.missed is not None and beta1 > self.missed.largest_beta1:  # beta1 may rise further
            higher = (beta1 + math.sqrt(beta2)) / 2
            expected = beta1 if _why_not(higher, beta2, eps) else higher
        self.settle()
        return MissedSteps(self.now, expected, beta2, eps)

    def after_dense_step(self) -> None:
        self.now += 1
        self.last.fill_(self.now)

    def lag_state(self) -> dict[str, Any]:
        assert self.missed is not None
        return {"weight": self.weight, "last": self.last, "missed": self.missed.state_dict()}

    def load_lag_state(self, lag: dict[str, Any]) -> None:
        self.weight.copy_(lag["weight"])
        self.last.copy_(lag["last"])
        self.missed = MissedSteps.from_state(lag["missed"])
        self.now = self.missed.now

    def move_state(self) -> None:
        super().move_state()
        if self.last.device != self.table.weight.device:
            self.last = self.last.to(self.table.weight.device)

    def _weight_and_state(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.weight, self.state["exp_avg"], self.state["exp_avg_sq"], self.last


@named_arguments
class Adam(RowOptimizer):
    """``torch.optim.Adam``, where the cost of an embedding table depends on the rows of the batch only.

    Kingma and Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015, Algorithm 1. Under Adam the momentum also changes the rows that
    a batch does not read. Here such a row is brought up to date when it is read next, with the same result
    (:mod:`torch_rechub.kernels.missed`): for given gradients the weights are closer to those of Adam in exact arithmetic than the weights
    of torch in float32. Learning rates and betas may follow any schedule.

    Args:
        params: all parameters of a model, or groups of them.
        lr: learning rate, a number.
        betas: decays of the two moments. With beta1 close to or above ``sqrt(beta2)`` tables are trained densely.
        eps: added to the square root of the second moment.
        weight_decay: coupled decay, added to the gradient. It changes every row, so tables are trained densely if it is above 0.
        amsgrad: as in torch; tables are trained densely if it is True.
        foreach, maximize, capturable, differentiable, fused: as in torch, for all other parameters; ``fused=None`` means True where
            torch has a fused implementation.

    Raises:
        ValueError: an argument is out of range, as in torch.
        TypeError: ``lr`` is a tensor.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> table = EmbeddingTable([SparseFeature("item", 1000, 4)])
        >>> optimizer = Adam(table.parameters(), lr=0.01)
        >>> table(torch.tensor([3, 5, 3])).sum().backward()
        >>> table.weight.grad.indices().tolist()
        [[3, 5]]
        >>> optimizer.step()
    """

    rows_class: ClassVar[type[TableRows]] = AdamRows
    torch_class: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        options |= {"foreach": foreach, "maximize": maximize, "capturable": capturable, "differentiable": differentiable, "fused": fused}
        super().__init__(params, options, self.torch_class)

    def why_dense(self, group: dict[str, Any]) -> str | None:
        decoupled = {**group, "decoupled_weight_decay": self.decoupled}
        if self.decoupled and group["lr"] * group["weight_decay"] >= 1:
            return f"lr * weight_decay = {group['lr'] * group['weight_decay']} is not below 1"
        return super().why_dense(decoupled) or _why_not(*group["betas"], group["eps"])


@named_arguments
class AdamW(Adam):
    """``torch.optim.AdamW``: :class:`Adam` with decoupled weight decay, which is exact for tables too.

    Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019, Algorithm 2, as in torch
    (the decay is ``lr * weight_decay``).

    Args:
        weight_decay: decoupled decay. All other arguments are those of :class:`Adam`.

    Example:
        >>> optimizer = AdamW(torch.nn.Linear(2, 1).parameters(), lr=0.01, weight_decay=0.1)
    """

    torch_class: ClassVar[type[torch.optim.Optimizer]] = torch.optim.AdamW
    decoupled: ClassVar[bool] = True

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)
