"""Exact stochastic gradient descent with momentum, where the cost of a step depends on the rows of the batch only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.optim.base import RowOptimizer
from torch_rechub.optim.rows import TableRows, eagerly

__all__ = ["SGD"]

NEGLIGIBLE = 1e-12  #: a momentum that has shrunk by this factor counts as zero


@dataclass
class Drift:
    """The change of a row since step ``t``, its last step with a gradient: ``-distance[t] * buffer``; its buffer is ``left[t] * buffer``.

    With momentum mu_s and learning rate lr_s of step s: ``left[t] = prod mu_s`` and ``distance[t] = sum lr_s prod_{t < j <= s} mu_j`` over
    the steps s after t. With Nesterov's momentum each term has one more factor mu_s. Both are updated at each step.
    """

    start: int
    now: int = field(init=False)
    first: int = field(init=False, default=0)
    left: Tensor = field(init=False)
    distance: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.start
        self.left, self.distance = torch.ones(256, dtype=torch.float64), torch.zeros(256, dtype=torch.float64)

    def append(self, lr: float, momentum: float, nesterov: bool) -> None:
        """Add one step."""
        end = self.now - self.start + 1
        if end + 1 > len(self.left):
            self.left = torch.cat([self.left, torch.ones_like(self.left)])
            self.distance = torch.cat([self.distance, torch.zeros_like(self.distance)])
        left = self.left[self.first : end].mul_(momentum)
        self.distance[self.first : end].add_(left, alpha=lr * momentum if nesterov else lr)
        first = self.first + int((left < NEGLIGIBLE).sum())
        self.left[self.first : first] = 0.0
        self.first = first
        self.now += 1

    def state_dict(self) -> dict[str, Any]:
        """The steps so far."""
        used = self.now + 1
        return {"now": self.now, "first": self.first, "left": self.left[:used].clone(), "distance": self.distance[:used].clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from saved steps, with room for as many more."""
        self.now, self.first = state["now"], state["first"]
        self.left = torch.cat([state["left"].cpu(), torch.ones(self.now + 1, dtype=torch.float64)])
        self.distance = torch.cat([state["distance"].cpu(), torch.zeros(self.now + 1, dtype=torch.float64)])


class SGDRows(TableRows):
    """A table under SGD: without momentum a row without a gradient does not change, with momentum it changes by a geometric sum."""

    def __init__(self, table: EmbeddingTable, state: dict[str, Any]) -> None:
        super().__init__(table, state)
        self.last = torch.zeros(len(table.weight), dtype=torch.int32, device=table.weight.device)
        self.drift: Drift | None = None

    @property
    def settled(self) -> bool:
        return self.drift is None

    @eagerly
    def peek(self, rows: Tensor | slice) -> Tensor:
        w = self.weight[rows].clone()
        if self.drift is None:
            return w
        self.move_state()
        distance, _ = self._drift_since(self.last[rows])
        return w.sub_(self.state["momentum_buffer"][rows] * distance.to(w.dtype))

    @eagerly
    def settle(self) -> None:
        if self.drift is not None:
            self.catch_up(torch.arange(len(self.last), device=self.last.device))
            self.drift = None
            self.last.zero_()

    def catch_up(self, rows: Tensor) -> None:
        if self.drift is None:
            return
        buffer = self.state["momentum_buffer"]
        momenta = buffer.index_select(0, rows)
        distance, left = self._drift_since(self.last.index_select(0, rows))
        with torch.no_grad():
            self.weight.index_copy_(0, rows, self.weight.index_select(0, rows).sub_(momenta * distance.to(momenta.dtype)))
        buffer.index_copy_(0, rows, momenta.mul_(left.to(momenta.dtype)))
        self.last.index_fill_(0, rows, self.drift.now)

    def _drift_since(self, last: Tensor) -> tuple[Tensor, Tensor]:
        """``distance`` and ``left`` ``(n, 1)`` of rows whose last steps are ``last``."""
        assert self.drift is not None
        t = last.long() - self.drift.start
        return self.drift.distance.to(t.device)[t][:, None], self.drift.left.to(t.device)[t][:, None]

    def step(self, rows: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        lr, momentum = float(group["lr"]), group["momentum"]
        if not momentum:  # torch does not update its buffer then
            self.settle()
            self.weight.index_add_(0, rows, grad, alpha=-lr)
            return
        self.catch_up(rows)
        grad_factor = 1 - group["dampening"]
        if self.state.get("momentum_buffer") is None:  # torch sets the buffer to the first gradient, without dampening
            self.state["momentum_buffer"], grad_factor = torch.zeros_like(self.weight), 1.0
        drift = self.drift or Drift(0)
        buffer = self.state["momentum_buffer"]
        momenta = buffer.index_select(0, rows).mul_(momentum).add_(grad, alpha=grad_factor)
        buffer.index_copy_(0, rows, momenta)
        update = momenta.mul(momentum).add_(grad) if group["nesterov"] else momenta
        self.weight.index_add_(0, rows, update, alpha=-lr)
        drift.append(lr, momentum, group["nesterov"])
        self.last.index_fill_(0, rows, drift.now)
        self.drift = drift

    def lag_state(self) -> dict[str, Any]:
        assert self.drift is not None
        return {"weight": self.weight, "last": self.last, **self.drift.state_dict()}

    def load_lag_state(self, lag: dict[str, Any]) -> None:
        with torch.no_grad():
            self.weight.copy_(lag["weight"])
        self.last.copy_(lag["last"])
        self.drift = Drift(0)
        self.drift.load_state_dict(lag)

    def move_state(self) -> None:
        super().move_state()
        if self.last.device != self.table.weight.device:
            self.last = self.last.to(self.table.weight.device)


@named_arguments
class SGD(RowOptimizer):
    """``torch.optim.SGD``, where the cost of an embedding table depends on the rows of the batch only.

    ``buffer = momentum * buffer + (1 - dampening) * grad; w -= lr * buffer``, as in torch (Sutskever et al., *On the importance of
    initialization and momentum in deep learning*, ICML 2013, with the learning rate outside the buffer). The momentum also changes the rows
    that a batch does not read. This change is a geometric sum, which is applied when the row is read next, for any schedule of learning
    rates and momenta.

    Args:
        params: all parameters of a model, or groups of them.
        lr: learning rate, a number.
        momentum: factor of the buffer; 0 means plain SGD.
        dampening: the share of the gradient that is not added to the buffer.
        weight_decay: coupled decay. It changes every row, so tables are trained densely if it is above 0.
        nesterov: use Nesterov's momentum.
        maximize, foreach, differentiable, fused: as in torch, for all other parameters; ``fused=None`` means True where torch has a fused
            implementation.

    Raises:
        ValueError: an argument is out of range, as in torch.
        TypeError: ``lr`` is a tensor.

    Example:
        >>> optimizer = SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.9)
    """

    rows_class: ClassVar[type[TableRows]] = SGDRows

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options: dict[str, Any] = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        options |= {"nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused}
        super().__init__(params, options, torch.optim.SGD)

    def why_dense(self, group: dict[str, Any]) -> str | None:
        if not 0 <= group["momentum"] < 1:
            return f"momentum={group['momentum']} does not decay"
        return super().why_dense(group)
