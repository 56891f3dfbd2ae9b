"""Clipping by the norm of all gradients together, exact for row-sparse ones as well."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["clip_grad_norm_"]


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> Tensor:
    """Scale all gradients in place so that their joint 2-norm is at most ``max_norm``.

    Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013, Algorithm 1. Torch's own refuses
    the row-sparse gradients of embedding tables; here their rows are added up first, so the norm is that of the dense gradient.

    Args:
        parameters: those whose ``.grad`` is clipped; one without a gradient is passed over.
        max_norm: the largest norm allowed.

    Returns:
        The norm before clipping, a scalar on the gradients' device; nothing waits for it.

    Example:
        >>> w = torch.zeros(2, requires_grad=True)
        >>> w.grad = torch.tensor([3.0, 4.0])
        >>> clip_grad_norm_([w], 1.0), w.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    holders = [parameter for parameter in given if parameter.grad is not None]
    if not holders:
        return torch.zeros(())
    values = [_values(parameter) for parameter in holders]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value).to(values[0].device) for value in values]))
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for value in values:
        value.mul_(scale.to(value.device))
    return norm


def _values(parameter: Tensor) -> Tensor:
    """The numbers of a gradient, as memory that can be scaled in place."""
    grad = parameter.grad
    assert grad is not None
    if not grad.is_sparse:
        return grad
    if not grad.is_coalesced():
        parameter.grad = grad = grad.coalesce()
    return grad._values()
