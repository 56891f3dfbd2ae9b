"""The kernels in plain torch, for every device and floating-point type; :class:`torch_rechub.kernels.Kernels` documents each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_rechub.kernels.missed import MissedSteps
from torch_rechub.torch_private import embedding_backward

__all__ = ["AdamStep", "accumulate", "adam_catch_up", "adam_update", "gather", "sorted_unique", "unique"]


@dataclass(frozen=True)
class AdamStep:
    """The numbers of one step of Adam: Kingma and Ba, ICLR 2015, end of section 2, as torch arranges it.

    Args:
        now: number of the step; the first step is 1.
        lr: learning rate.
        beta1: first-moment decay.
        beta2: second-moment decay.
        eps: added to the square root of the second moment, after its bias correction.
        decay: factor of the weights, ``1 - lr * weight_decay``.
    """

    now: int
    lr: float
    beta1: float
    beta2: float
    eps: float
    decay: float = 1.0

    @property
    def rate(self) -> float:
        """The learning rate, with the bias correction of the first moment."""
        return self.lr / (1 - self.beta1**self.now)

    @property
    def root(self) -> float:
        """The factor of ``sqrt(v)``: the bias correction of the second moment."""
        return 1 / math.sqrt(1 - self.beta2**self.now)


def unique(rows: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
    """Implemented by sorting. On a GPU the rows are not checked here; the embedding layer has checked the ids."""
    if len(rows) and rows.device.type == "cpu":
        low, high = (int(bound) for bound in rows.aminmax())
        if low < 0 or high >= len(slot):
            raise IndexError(f"rows must be >= 0 and < {len(slot)}, the number of rows of the table; got {low if low < 0 else high}.")
    return sorted_unique(rows)


def sorted_unique(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows, ascending, and the position of each row among them; on the CPU 10 times faster than ``torch.unique``."""
    ordered, order = rows.to(torch.int32).sort()
    is_first = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    if len(rows):
        torch.ne(ordered[1:], ordered[:-1], out=is_first[1:])
    inverse = torch.empty_like(order).scatter_(0, order, is_first.cumsum(0) - 1)
    return ordered[is_first].long(), inverse


def gather(weight: Tensor, rows: Tensor) -> Tensor:
    """``weight[rows]``."""
    return weight.index_select(0, rows)


def accumulate(grad: Tensor, inverse: Tensor, n: int) -> Tensor:
    """Summed in the order of positions on the CPU and in sorted order on a GPU, so that a run can be repeated bit for bit."""
    if grad.is_cuda:
        return embedding_backward(grad, inverse, n)
    return grad.new_zeros(n, grad.shape[1]).index_add_(0, inverse, grad)


def adam_catch_up(w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, missed: MissedSteps) -> None:
    """The formula of :mod:`torch_rechub.kernels.missed`, vectorised over rows; a row that has missed no step does not change."""
    sums = missed.sums_on(w.device)
    last_step = last.index_select(0, rows)
    t, n_missed = last_step - missed.start, missed.now - last_step
    weight, shift = sums.weight.index_select(0, t).to(w.dtype), sums.shift.index_select(0, t).to(w.dtype)  # (n, nodes)
    second = v.index_select(0, rows)  # (n, D)
    root, moved = second.sqrt(), torch.zeros_like(second)
    n_node = weight.shape[1]
    if len(t) and w.device.type == "cpu":  # on a GPU, reading the maximum would wait for the device
        n_node = int(sums.n_node.index_select(0, t).max())
    for node in range(n_node):
        moved.addcdiv_(weight[:, node : node + 1].expand_as(root), root + shift[:, node : node + 1])
    power, ratio = sums.power.index_select(0, n_missed), sums.ratio.index_select(0, t)
    first = m.index_select(0, rows)
    new = w.index_select(0, rows).sub_(moved.mul_(first))
    if missed.decays:
        log_decay = sums.log_decay[missed.now - missed.start] - sums.log_decay.index_select(0, t)
        new *= log_decay.exp().to(w.dtype)[:, None]
    w.index_copy_(0, rows, new)
    m.index_copy_(0, rows, first.mul_((ratio * power.sqrt()).to(w.dtype)[:, None]))
    v.index_copy_(0, rows, second.mul_(power.to(w.dtype)[:, None]))
    last.index_fill_(0, rows, missed.now)


def adam_update(w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, grad: Tensor, step: AdamStep) -> None:
    """Apply one step of Adam to the distinct rows."""
    first = m.index_select(0, rows).lerp_(grad, 1 - step.beta1)
    second = v.index_select(0, rows).mul_(step.beta2).addcmul_(grad, grad, value=1 - step.beta2)
    new = w.index_select(0, rows).mul_(step.decay).addcdiv_(first, second.sqrt().mul_(step.root).add_(step.eps), value=-step.rate)
    w.index_copy_(0, rows, new)
    m.index_copy_(0, rows, first)
    v.index_copy_(0, rows, second)
    last.index_fill_(0, rows, step.now)
