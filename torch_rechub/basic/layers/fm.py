"""Factorization machines: interactions of all pairs of fields in linear time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.linear import LR
from torch_rechub.basic.layers.plain import are_plain, must_be_plain

__all__ = ["FM", "factorization_machine", "linear_and_pairs"]


def factorization_machine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """First and second order at once: ``b + <w, x> + sum_{i<j} <x_i, x_j>`` (Rendle, ICDM 2010, eq. 1, with the linear part on embeddings).

    The result equals the sum of ``LR`` and :class:`FM`. The gradient ``g * (w + sum_i x_i - x)`` is computed in three passes over one
    tensor; autograd would allocate and add four tensors.

    Shape:
        ``x (B, F, D)``, ``weight (1, F * D)``, ``bias (1,)`` -> ``(B,)``.

    Example:
        >>> x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
        >>> factorization_machine(x, torch.ones(1, 4), torch.zeros(1))  # 1 * 3 + 2 * 4, and 1 + 2 + 3 + 4
        tensor([21.])
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or must_be_plain():
        return _first_and_second_order(x, weight, bias, x.sum(dim=1))
    return _FirstAndSecondOrder.apply(x, weight, bias)


def _first_and_second_order(x: Tensor, weight: Tensor, bias: Tensor, total: Tensor) -> Tensor:
    flat = x.flatten(1)  # (B, F * D)
    squares = torch.linalg.vector_norm(flat, dim=1).square()
    return flat @ weight[0] + bias + 0.5 * (total.square().sum(dim=1) - squares)


class _FirstAndSecondOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        total = x.sum(dim=1)  # (B, D)
        ctx.save_for_backward(x, weight, total)
        return _first_and_second_order(x, weight, bias, total)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, total = ctx.saved_tensors
        (grad,) = grad_outputs  # (B,)
        if torch.is_grad_enabled():  # the gradient itself is differentiated
            total = x.sum(dim=1)
        grad_x = torch.sub(total.unsqueeze(1), x).add_(weight.view(x.shape[1:])).mul_(grad.view(-1, 1, 1))  # (B, F, D)
        return grad_x, (grad @ x.flatten(1)).unsqueeze(0), grad.sum().unsqueeze(0)


def linear_and_pairs(x: Tensor, linear: LR, fm: FM) -> Tensor:
    """``linear(x) + fm(x)`` for embeddings ``x`` ``(B, F, D)``, ``(B,)``: as one operation where neither module has hooks.

    Args:
        x: the embeddings.
        linear: one weight for each entry of the embeddings.
        fm: the sum over all pairs of fields.
    """
    if are_plain([linear], LR) and are_plain([fm], FM) and are_plain([linear.fc], nn.Linear) and fm.reduce_sum and not linear.sigmoid:
        return factorization_machine(x, linear.fc.weight, linear.fc.bias)
    return (linear(x.flatten(1)) + fm(x)).squeeze(1)


@named_arguments
class FM(nn.Module):
    """The second-order part of a factorization machine: the sum of ``x_i * x_j`` over all pairs of fields.

    ``1/2 * ((sum_i x_i)^2 - sum_i x_i^2)`` in each embedding dimension (Rendle, *Factorization Machines*, ICDM 2010,
    lemma 3.1), linear in F.

    Args:
        reduce_sum: also sum over the embedding dimension, which gives inner products; False does not (bi-interaction pooling: He & Chua,
            *Neural Factorization Machines*, SIGIR 2017, eq. 4).

    Shape:
        ``(B, F, D)`` -> ``(B, 1)``, or ``(B, D)`` if ``reduce_sum`` is False.

    Example:
        >>> import torch
        >>> FM()(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))  # 1 * 3 + 2 * 4
        tensor([[11.]])
    """

    def __init__(self, reduce_sum: bool = True) -> None:
        super().__init__()
        self.reduce_sum = reduce_sum

    def forward(self, x: Tensor) -> Tensor:
        """The interactions of all pairs."""
        total = x.sum(dim=1)  # (B, D)
        if not self.reduce_sum:
            return 0.5 * (total.square() - x.square().sum(dim=1))
        squares = x.flatten(start_dim=1).square().sum(dim=1, keepdim=True)  # (B, 1), without a (B, D) tensor
        return 0.5 * (total.square().sum(dim=1, keepdim=True) - squares)
