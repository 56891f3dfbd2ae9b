"""Gradient clipping by the total norm or by value, for dense gradients and sparse gradients of embedding tables."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from torch_rechub.optim.rows import coalesced
from torch_rechub.torch_private import foreach_mul_, foreach_norm, sparse_values

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


@torch.no_grad()
def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients in place so that their total 2-norm is at most ``max_norm``; torch's function refuses sparse gradients.

    ``g *= min(1, max_norm / (norm + 1e-6))`` (Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural networks*,
    ICML 2013, section 3.2; 1e-6 as in torch). The gradients of equal rows of a sparse gradient are summed first, so that the
    norm equals that of the dense gradient. The CPU does not wait for the device. A norm that is not finite makes all gradients not finite,
    as in torch.

    Args:
        parameters: the parameters whose gradients are scaled; a parameter without a gradient is ignored.
        max_norm: the largest allowed norm, > 0.

    Returns:
        The total norm before clipping, ``()``.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> clip_grad_norm_([weight], max_norm=1.0), weight.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = [_values(parameter) for parameter in parameters if parameter.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    device = grads[0].device
    by_device: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for grad in grads:
        by_device.setdefault((grad.device, grad.dtype), []).append(grad)
    norms = [norm.to(device) for group in by_device.values() for norm in foreach_norm(group, 2.0)]
    total = torch.linalg.vector_norm(torch.stack(norms))
    scale = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for group in by_device.values():
        foreach_mul_(group, scale.to(group[0].device))
    return total


@torch.no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], max_value: float) -> None:
    """Clip each value of all gradients to ``[-max_value, max_value]`` in place; equal rows of a sparse gradient are summed first.

    Args:
        parameters: the parameters whose gradients are clipped; a parameter without a gradient is ignored.
        max_value: the largest allowed absolute value, > 0. NaN stays NaN, as in torch.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, -0.5])
        >>> clip_grad_value_([weight], max_value=1.0)
        >>> weight.grad
        tensor([ 1.0000, -0.5000])
    """
    for parameter in [parameters] if isinstance(parameters, Tensor) else parameters:
        if parameter.grad is not None:
            _values(parameter).clamp_(-max_value, max_value)


def _values(parameter: Tensor) -> Tensor:
    """The values of a gradient, with each row once; they share the memory of the gradient."""
    grad = parameter.grad
    assert grad is not None
    if not grad.is_sparse:
        return grad
    if not grad.is_coalesced():
        rows, values = coalesced(grad)
        indices = rows[None] if rows.ndim == 1 else rows
        grad = torch.sparse_coo_tensor(indices, values, grad.shape, is_coalesced=True, check_invariants=False)
        parameter.grad = grad
    return sparse_values(grad)
